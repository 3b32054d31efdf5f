//! The neighbours of a rank in a process topology (MPI 5.0 §8.6).
//!
//! Two lists: whose blocks come, and to whom blocks go. Where a rank stands in a list more than once, its messages meet in an
//! order that both sides have to see alike:
//!
//! - in a graph the k-th edge *to* a rank meets the k-th edge *from* it;
//! - in a grid, what leaves in one direction arrives from the other one. That differs from the order of the list where both
//!   neighbours of a dimension are the same rank: in periodic dimensions of one or two ranks.

use crate::error::{Result, fail};
use crate::status::PROC_NULL;

/// The neighbours of this rank, in the order of its blocks. `None` is `MPI_PROC_NULL`: it has a block and no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    sources: Vec<Option<usize>>,
    destinations: Vec<Option<usize>>,
    grid: bool,
}

fn ranks(list: &[i32]) -> Vec<Option<usize>> {
    list.iter().map(|rank| usize::try_from(*rank).ok()).collect()
}

impl Neighbours {
    /// Those of a graph: the ranks that send to this one, and those that it sends to.
    pub fn graph(sources: &[i32], destinations: &[i32]) -> Neighbours {
        Neighbours { sources: ranks(sources), destinations: ranks(destinations), grid: false }
    }

    /// Those of a grid: for each dimension the rank below and the rank above, or `MPI_PROC_NULL`.
    pub fn grid(around: &[(i32, i32)]) -> Neighbours {
        let list: Vec<i32> = around.iter().flat_map(|(below, above)| [*below, *above]).collect();
        Neighbours { sources: ranks(&list), destinations: ranks(&list), grid: true }
    }

    /// How many blocks come in.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// How many blocks go out.
    pub fn destinations(&self) -> usize {
        self.destinations.len()
    }

    /// The blocks that come in, with their sources, in the order in which those send.
    pub(super) fn incoming(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let slots = (0..self.sources.len()).map(|i| if self.grid { i ^ 1 } else { i });
        slots.filter_map(|slot| self.sources[slot].map(|from| (slot, from)))
    }

    /// The blocks that go out, with their destinations.
    pub(super) fn outgoing(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.destinations.iter().enumerate().filter_map(|(slot, to)| to.map(|to| (slot, to)))
    }

    /// All neighbours are ranks of a group of `size`.
    pub(super) fn check(&self, size: usize) -> Result<()> {
        match self.sources.iter().chain(&self.destinations).flatten().find(|rank| **rank >= size) {
            Some(rank) => fail!(Rank, "the neighbour {rank} is not a rank of a communicator of {size} processes"),
            None => Ok(()),
        }
    }
}

/// The rank of a neighbour that is nobody.
const _: () = assert!(PROC_NULL < 0, "ranks below zero are taken for MPI_PROC_NULL");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_grid_what_goes_up_comes_from_below() {
        let line = Neighbours::grid(&[(4, 4), (PROC_NULL, 7)]);
        assert_eq!((line.sources(), line.destinations()), (4, 4));
        assert_eq!(line.incoming().collect::<Vec<_>>(), [(1, 4), (0, 4), (3, 7)]);
        assert_eq!(line.outgoing().collect::<Vec<_>>(), [(0, 4), (1, 4), (3, 7)]);
    }

    #[test]
    fn in_a_graph_edges_meet_in_the_order_of_the_lists() {
        let graph = Neighbours::graph(&[1, 1, 0], &[2]);
        assert_eq!(graph.incoming().collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 0)]);
        assert_eq!(graph.outgoing().collect::<Vec<_>>(), [(0, 2)]);
        assert!(graph.check(3).is_ok() && graph.check(2).is_err());
    }
}
