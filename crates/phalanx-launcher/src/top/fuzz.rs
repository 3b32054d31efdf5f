//! What is typed, and what is shown, with any bytes in it: see [`crate::fuzz`].

use super::rows::{Kind, Order, Sample, table, totals};
use super::screen::{key, plain};
use crate::look::Look;

/// Each byte is taken once, and none is left.
pub(crate) fn keys(bytes: &[u8]) {
    let mut typed = bytes.to_vec();
    let mut left = typed.len();
    while let Some(key) = key(&mut typed) {
        assert!(typed.len() < left);
        left = typed.len();
        let _ = Order::of_key(key);
    }
    assert!(typed.is_empty());
}

/// The lines of a table are as wide as the screen, whatever stands in it.
pub(crate) fn drawn(look: &Look) {
    let first = Sample::new(look.clone(), None);
    let second = Sample::new(look.clone(), Some(&first));
    assert!(totals(&second).chars().count() <= 80);
    for key in ['r', 'c', 'm', 's', 'b', 't'] {
        let order = Order::of_key(key).unwrap_or(Order::Rank);
        for line in [table(&second, order, &[Kind::Files], 80), table(&second, order, &Kind::ALL, 80)].concat() {
            assert_eq!(line.chars().count(), 80, "{line:?}");
            assert!(plain(&line, 80).all(|c| !c.is_control()));
        }
    }
}
