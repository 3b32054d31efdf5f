//! The rows of `abi/constants.tsv`, for tests that compare tables in the code with the standard's.

/// (name, C type, value) of every constant with an integer value.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str, i64)> {
    include_str!("../../../abi/constants.tsv").lines().filter(|line| line.starts_with("MPI_")).filter_map(|line| {
        let mut fields = line.split('\t');
        let (name, kind, value) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, kind, value.trim().parse().ok()?))
    })
}
