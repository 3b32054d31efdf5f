//! Balanced grids (`MPI_Dims_create`).

use std::ffi::c_int;

use phalanx_engine::ErrorClass;

use crate::entry::{Failure, wrong};

/// More dimensions than any grid has.
pub(crate) const MOST: usize = 1 << 16;

/// The grid for `nodes` processes: extents that are given stay, those that are 0 are chosen close to each other and
/// not increasing.
pub(crate) fn balanced(nodes: c_int, given: &[c_int]) -> Result<Vec<c_int>, Failure> {
    if let Some(bad) = given.iter().find(|d| **d < 0) {
        return Err(wrong(ErrorClass::Dims, format!("a dimension is {bad}; it must be 0 (to be chosen) or positive")));
    }
    if given.len() > MOST {
        return Err(wrong(
            ErrorClass::Dims,
            format!("a grid of {} dimensions; at most {MOST} make sense", given.len()),
        ));
    }
    if nodes <= 0 {
        return Err(wrong(ErrorClass::Arg, format!("the number of processes is {nodes}; it must be positive")));
    }
    let fixed = given.iter().filter(|d| **d > 0).try_fold(1, |n: c_int, d| n.checked_mul(*d));
    let free = given.iter().filter(|d| **d == 0).count();
    let rest = match fixed {
        Some(fixed) if nodes % fixed == 0 && (free > 0 || fixed == nodes) => nodes / fixed,
        _ => {
            return Err(wrong(
                ErrorClass::Dims,
                format!("{nodes} processes do not fill a grid with the dimensions {given:?}"),
            ));
        }
    };
    let mut chosen = vec![1; free];
    // The largest prime factors first, each to the dimension that is smallest so far.
    for prime in primes(rest).into_iter().rev() {
        if let Some(smallest) = chosen.iter_mut().min() {
            *smallest *= prime;
        }
    }
    chosen.sort_unstable_by(|a, b| b.cmp(a));
    let mut next = chosen.into_iter();
    Ok(given.iter().map(|d| if *d == 0 { next.next().unwrap_or(1) } else { *d }).collect())
}

/// The prime factors, in ascending order.
fn primes(mut n: c_int) -> Vec<c_int> {
    let mut found = Vec::new();
    let mut p = 2;
    while i64::from(p) * i64::from(p) <= i64::from(n) {
        while n % p == 0 {
            found.push(p);
            n /= p;
        }
        p += 1;
    }
    if n > 1 {
        found.push(n);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::balanced;

    #[test]
    fn grids_are_balanced_and_do_not_increase() {
        for (nodes, given, expected) in [
            (6, vec![0, 0], vec![3, 2]),
            (7, vec![0, 0, 0], vec![7, 1, 1]),
            (12, vec![0, 0], vec![4, 3]),
            (24, vec![0, 2, 0], vec![4, 2, 3]),
            (1, vec![0], vec![1]),
            (8, vec![0, 0, 0], vec![2, 2, 2]),
        ] {
            assert_eq!(balanced(nodes, &given).expect("a grid"), expected);
        }
    }

    #[test]
    fn impossible_grids_are_errors() {
        for (nodes, given) in
            [(7, vec![2, 0]), (6, vec![2, 2]), (0, vec![0]), (4, vec![-1, 0]), (1, vec![0; super::MOST + 1])]
        {
            assert!(balanced(nodes, &given).is_err());
        }
    }
}
