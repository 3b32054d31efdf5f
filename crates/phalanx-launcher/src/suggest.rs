//! The nearest known word to one that is not known.

/// The candidate nearest to `given`, when it is near enough to be what the user meant.
///
/// Near enough: at most a third of its letters have to change (and at least one may).
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = given.trim_start_matches('-').to_lowercase();
    let most = |candidate: &str| (candidate.len().max(wanted.len()) / 3).max(1);
    candidates
        .into_iter()
        // Whatever was typed: nothing much longer than a name is compared with it letter by letter.
        .filter(|candidate| candidate.trim_start_matches('-').len().abs_diff(wanted.chars().count()) <= most(candidate))
        .filter(|_| wanted.len() <= LONGEST)
        .map(|candidate| (distance(&wanted, candidate.trim_start_matches('-')), candidate))
        .filter(|(changes, candidate)| *changes <= most(candidate))
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

/// Bytes of a name, at most.
const LONGEST: usize = 100;

/// Letters to insert, delete, replace or swap with a neighbour to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let words = ["--tag-output", "--timeout", "--wdir", "-n"];
        assert_eq!(nearest("--tiemout", words), Some("--timeout"));
        assert_eq!(nearest("--tag_output", words), Some("--tag-output"));
        assert_eq!(nearest("--frobnicate", words), None);
    }

    #[test]
    fn counts_single_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("wdir", "wdri"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
