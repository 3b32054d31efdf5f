//! The numbers of engines: no two engines of a cluster ever have the same one.

use std::collections::BTreeSet;

/// A number that an engine asks for is at most so much above those that were given.
const AHEAD: u32 = 4096;

/// Which numbers have been given.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// From here on, none has.
    next: u32,
    /// Below that, these have not.
    left_out: BTreeSet<u32>,
}

impl Numbers {
    /// A number for one engine: the one that it asks for, if no engine has had it.
    pub(crate) fn take(&mut self, wanted: Option<u32>) -> u32 {
        match wanted {
            Some(number) if self.left_out.remove(&number) => number,
            Some(number) if number >= self.next && number - self.next < AHEAD => {
                self.left_out.extend(self.next..number);
                self.next = number + 1;
                number
            }
            _ => {
                let number = self.next;
                self.next += 1;
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_get_their_numbers_in_whatever_order_they_come() {
        let mut numbers = Numbers::default();
        assert_eq!([2, 0, 1].map(|rank| numbers.take(Some(rank))), [2, 0, 1]);
        assert_eq!(numbers.take(None), 3);
        // What an engine has had is nobody else's; neither is what is far from all of them.
        assert_eq!([Some(1), Some(u32::MAX), None].map(|wanted| numbers.take(wanted)), [4, 5, 6]);
    }

    #[test]
    fn a_number_that_was_left_out_is_for_who_asks_for_it() {
        let mut numbers = Numbers::default();
        assert_eq!([Some(1), None, None, Some(0), Some(0)].map(|wanted| numbers.take(wanted)), [1, 2, 3, 0, 4]);
    }
}
