//! Groups: ordered sets of processes (MPI 5.0 §7.3).
//!
//! A group is an immutable list of process slots; cloning shares it. Most groups are a contiguous range of slots (a world and
//! what is split off it in order), for which the rank of a process is a subtraction. Other groups get a sorted index when a
//! process is first looked up. Set operations run in O(n log n).

use std::sync::{Arc, OnceLock};

use phalanx_shm::ProcId;

use crate::error::{Result, fail};
use crate::pt2pt::buffered::SessionBuffer;
use crate::status::{PROC_NULL, UNDEFINED};

/// Outcome of comparing groups or communicators. Later ones differ more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// The same members in the same order, or the same object (`MPI_IDENT`).
    Ident,
    /// Communicators with the same members in the same order, but different contexts (`MPI_CONGRUENT`).
    Congruent,
    /// The same members in another order (`MPI_SIMILAR`).
    Similar,
    /// Different members (`MPI_UNEQUAL`).
    Unequal,
}

/// An ordered set of processes.
#[derive(Clone)]
pub struct Group(Arc<Inner>);

struct Inner {
    members: Box<[ProcId]>,
    /// The first slot, when the members are consecutive slots in order.
    first: Option<u32>,
    /// Ranks sorted by process, made on the first look-up in a group without that property.
    index: OnceLock<Box<[u32]>>,
    /// Of the session that the group comes from: its buffer for the buffered sends of communicators.
    session: Option<SessionBuffer>,
}

impl Group {
    /// The group with these members, which must all differ (the engine's own lists do).
    pub fn new(members: Vec<ProcId>) -> Group {
        Group::with(members, None)
    }

    fn with(members: Vec<ProcId>, session: Option<SessionBuffer>) -> Group {
        let first = members.first().map(|p| p.0);
        let consecutive = first.filter(|&first| members.iter().zip(first..).all(|(p, slot)| p.0 == slot));
        Group(Arc::new(Inner { members: members.into(), first: consecutive, index: OnceLock::new(), session }))
    }

    /// The same members, for a session.
    #[must_use]
    pub fn of_session(&self, session: SessionBuffer) -> Group {
        Group::with(self.members().to_vec(), Some(session))
    }

    /// A group with these members that is made from this one, and so of its session.
    pub(crate) fn derived(&self, members: Vec<ProcId>) -> Group {
        Group::with(members, self.0.session.clone())
    }

    /// The buffer of the session that it comes from, directly or by operations on groups and communicators.
    pub(crate) fn session(&self) -> Option<&SessionBuffer> {
        self.0.session.as_ref()
    }

    /// The group of `size` consecutive slots.
    pub fn range(first: ProcId, size: u32) -> Group {
        Group::new((first.0..first.0 + size).map(ProcId).collect())
    }

    /// The group without members (`MPI_GROUP_EMPTY`).
    pub fn empty() -> Group {
        Group::new(Vec::new())
    }

    /// Number of members.
    pub fn size(&self) -> usize {
        self.0.members.len()
    }

    /// The members by rank.
    pub fn members(&self) -> &[ProcId] {
        &self.0.members
    }

    /// The member with a rank.
    #[inline]
    pub fn get(&self, rank: usize) -> Option<ProcId> {
        self.0.members.get(rank).copied()
    }

    /// The rank of a process, if it is a member.
    #[inline]
    pub fn rank_of(&self, process: ProcId) -> Option<usize> {
        let members = &self.0.members;
        if let Some(first) = self.0.first {
            let rank = process.0.wrapping_sub(first) as usize;
            return (rank < members.len()).then_some(rank);
        }
        let index = self.0.index.get_or_init(|| {
            let mut ranks: Vec<u32> = (0..members.len() as u32).collect();
            ranks.sort_unstable_by_key(|&rank| members[rank as usize].0);
            ranks.into()
        });
        let at = index.binary_search_by_key(&process.0, |&rank| members[rank as usize].0).ok()?;
        Some(index[at] as usize)
    }

    /// Whether a process is a member.
    pub fn contains(&self, process: ProcId) -> bool {
        self.rank_of(process).is_some()
    }

    /// Whether all members of this group are members of `other`.
    pub fn is_subset(&self, other: &Group) -> bool {
        self.members().iter().all(|&p| other.contains(p))
    }

    /// `Ident`, `Similar` or `Unequal`.
    pub fn compare(&self, other: &Group) -> Comparison {
        if Arc::ptr_eq(&self.0, &other.0) || self.members() == other.members() {
            Comparison::Ident
        } else if self.size() == other.size() && self.is_subset(other) {
            Comparison::Similar
        } else {
            Comparison::Unequal
        }
    }

    /// The members of this group, then those of `other` that are not in this one.
    pub fn union(&self, other: &Group) -> Group {
        let added = other.members().iter().filter(|&&p| !self.contains(p));
        self.derived(self.members().iter().chain(added).copied().collect())
    }

    /// The members that are in both, in the order of this group.
    pub fn intersection(&self, other: &Group) -> Group {
        self.derived(self.members().iter().filter(|&&p| other.contains(p)).copied().collect())
    }

    /// The members that are not in `other`, in the order of this group.
    pub fn difference(&self, other: &Group) -> Group {
        self.derived(self.members().iter().filter(|&&p| !other.contains(p)).copied().collect())
    }

    /// The members with these ranks, in that order.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for a rank outside the group or one given twice.
    pub fn incl(&self, ranks: &[i32]) -> Result<Group> {
        let chosen = self.distinct(ranks.iter().map(|&rank| i64::from(rank)))?;
        Ok(self.derived(chosen.into_iter().map(|rank| self.0.members[rank]).collect()))
    }

    /// The members without these ranks, in the order of this group.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for a rank outside the group or one given twice.
    pub fn excl(&self, ranks: &[i32]) -> Result<Group> {
        Ok(self.without(&self.distinct(ranks.iter().map(|&rank| i64::from(rank)))?))
    }

    /// The members with the ranks of these ranges (first, last, stride), in that order.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a stride of 0, `MPI_ERR_RANK` for a rank outside the group or in two ranges.
    pub fn range_incl(&self, ranges: &[[i32; 3]]) -> Result<Group> {
        let chosen = self.in_ranges(ranges)?;
        Ok(self.derived(chosen.into_iter().map(|rank| self.0.members[rank]).collect()))
    }

    /// The members without the ranks of these ranges (first, last, stride), in the order of this group.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a stride of 0, `MPI_ERR_RANK` for a rank outside the group or in two ranges.
    pub fn range_excl(&self, ranges: &[[i32; 3]]) -> Result<Group> {
        Ok(self.without(&self.in_ranges(ranges)?))
    }

    /// The ranks that members of this group have in `other`; [`UNDEFINED`] for those that are not in it, and
    /// `MPI_PROC_NULL` for itself.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for a rank outside this group.
    pub fn translate(&self, ranks: &[i32], other: &Group) -> Result<Vec<i32>> {
        let one = |&rank: &i32| {
            if rank == PROC_NULL {
                return Ok(PROC_NULL);
            }
            let process = self.0.members[self.check(i64::from(rank))?];
            Ok(other.rank_of(process).map_or(UNDEFINED, |rank| rank as i32))
        };
        ranks.iter().map(one).collect()
    }

    fn check(&self, rank: i64) -> Result<usize> {
        match usize::try_from(rank) {
            Ok(rank) if rank < self.size() => Ok(rank),
            _ if self.size() == 0 => fail!(Rank, "rank {rank} does not exist: the group is empty"),
            _ => fail!(
                Rank,
                "rank {rank} does not exist in a group of {} processes (valid: 0 to {})",
                self.size(),
                self.size() - 1
            ),
        }
    }

    /// Ranks of this group, each at most once.
    fn distinct(&self, ranks: impl Iterator<Item = i64>) -> Result<Vec<usize>> {
        let mut seen = vec![false; self.size()];
        ranks
            .map(|rank| {
                let rank = self.check(rank)?;
                if std::mem::replace(&mut seen[rank], true) {
                    fail!(Rank, "rank {rank} is given twice; the ranks of a group must all differ");
                }
                Ok(rank)
            })
            .collect()
    }

    fn in_ranges(&self, ranges: &[[i32; 3]]) -> Result<Vec<usize>> {
        for (i, &[first, last, stride]) in ranges.iter().enumerate() {
            if stride == 0 {
                fail!(Arg, "range {i} ({first} to {last}) has stride 0; it must be positive or negative");
            }
            if (i64::from(last) - i64::from(first)) * i64::from(stride) < 0 {
                fail!(
                    Arg,
                    "range {i} from {first} to {last} with stride {stride} is empty; the stride must lead from the first to the last"
                );
            }
        }
        self.distinct(ranges.iter().flat_map(|&[first, last, stride]| {
            let (first, last, stride) = (i64::from(first), i64::from(last), i64::from(stride));
            (0..=(last - first) / stride).map(move |i| first + i * stride)
        }))
    }

    /// The members but for those with the given ranks.
    fn without(&self, ranks: &[usize]) -> Group {
        let mut keep = vec![true; self.size()];
        ranks.iter().for_each(|&rank| keep[rank] = false);
        self.derived(self.members().iter().zip(keep).filter(|(_, keep)| *keep).map(|(&p, _)| p).collect())
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.members().iter().map(|p| p.0)).finish()
    }
}

impl PartialEq for Group {
    /// The same members in the same order.
    fn eq(&self, other: &Group) -> bool {
        self.compare(other) == Comparison::Ident
    }
}

impl Eq for Group {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use proptest::prelude::*;

    fn group(slots: &[u32]) -> Group {
        Group::new(slots.iter().map(|&slot| ProcId(slot)).collect())
    }

    fn slots(group: &Group) -> Vec<u32> {
        group.members().iter().map(|p| p.0).collect()
    }

    #[test]
    fn set_operations_keep_the_standards_order() {
        let (a, b) = (group(&[4, 1, 7]), group(&[7, 2, 4]));
        assert_eq!(slots(&a.union(&b)), [4, 1, 7, 2]);
        assert_eq!(slots(&a.intersection(&b)), [4, 7]);
        assert_eq!(slots(&b.intersection(&a)), [7, 4]);
        assert_eq!(slots(&a.difference(&b)), [1]);
        assert_eq!(a.union(&Group::empty()), a);
        assert_eq!(a.difference(&a).size(), 0);
    }

    #[test]
    fn comparison_sees_order_and_members() {
        let a = group(&[1, 2, 3]);
        assert_eq!(a.compare(&a.clone()), Comparison::Ident);
        assert_eq!(a.compare(&Group::range(ProcId(1), 3)), Comparison::Ident);
        assert_eq!(a.compare(&group(&[3, 2, 1])), Comparison::Similar);
        assert_eq!(a.compare(&group(&[1, 2])), Comparison::Unequal);
        assert_eq!(a.compare(&group(&[1, 2, 4])), Comparison::Unequal);
        assert_eq!(Group::empty().compare(&Group::empty()), Comparison::Ident);
    }

    #[test]
    fn incl_and_excl_check_their_ranks() {
        let a = Group::range(ProcId(10), 5);
        assert_eq!(slots(&a.incl(&[3, 0]).unwrap()), [13, 10]);
        assert_eq!(slots(&a.excl(&[3, 0]).unwrap()), [11, 12, 14]);
        assert_eq!(a.excl(&[]).unwrap(), a);
        assert_eq!(a.incl(&[]).unwrap().size(), 0);
        for wrong in [[5, 0], [-1, 0], [2, 2]] {
            assert_eq!(a.incl(&wrong).unwrap_err().class(), ErrorClass::Rank);
            assert_eq!(a.excl(&wrong).unwrap_err().class(), ErrorClass::Rank);
        }
        let text = a.incl(&[9]).unwrap_err().to_string();
        assert!(text.contains("rank 9") && text.contains("5 processes") && text.contains("0 to 4"), "{text}");
        assert!(Group::empty().incl(&[0]).unwrap_err().message().contains("empty"));
    }

    #[test]
    fn ranges_go_both_ways() {
        let a = Group::range(ProcId(0), 10);
        assert_eq!(slots(&a.range_incl(&[[0, 4, 2], [9, 7, -1]]).unwrap()), [0, 2, 4, 9, 8, 7]);
        assert_eq!(slots(&a.range_incl(&[[1, 8, 3]]).unwrap()), [1, 4, 7]);
        assert_eq!(slots(&a.range_excl(&[[0, 9, 2]]).unwrap()), [1, 3, 5, 7, 9]);
        assert_eq!(slots(&a.range_incl(&[[3, 3, 1]]).unwrap()), [3]);
        assert_eq!(a.range_incl(&[[0, 4, 0]]).unwrap_err().class(), ErrorClass::Arg);
        assert_eq!(a.range_incl(&[[4, 0, 1]]).unwrap_err().class(), ErrorClass::Arg);
        assert_eq!(a.range_incl(&[[0, 10, 1]]).unwrap_err().class(), ErrorClass::Rank);
        assert_eq!(a.range_incl(&[[0, 4, 1], [4, 6, 1]]).unwrap_err().class(), ErrorClass::Rank);
        assert_eq!(a.range_excl(&[[0, i32::MAX, 1]]).unwrap_err().class(), ErrorClass::Rank);
    }

    #[test]
    fn translation_knows_strangers_and_the_null_process() {
        let (a, b) = (group(&[5, 6, 7]), group(&[7, 5]));
        assert_eq!(a.translate(&[0, 1, 2, -3], &b).unwrap(), [1, UNDEFINED, 0, -3]);
        assert_eq!(a.translate(&[3], &b).unwrap_err().class(), ErrorClass::Rank);
        assert_eq!(a.translate(&[-1], &b).unwrap_err().class(), ErrorClass::Rank);
    }

    fn arbitrary() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::hash_set(0u32..60, 0..40).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn look_up_finds_every_member_and_nobody_else(list in arbitrary()) {
            let g = group(&list);
            for slot in 0..60 {
                prop_assert_eq!(g.rank_of(ProcId(slot)), list.iter().position(|&s| s == slot));
            }
        }

        #[test]
        fn the_parts_make_the_union(a in arbitrary(), b in arbitrary()) {
            let (a, b) = (group(&a), group(&b));
            let parts = a.difference(&b).union(&a.intersection(&b)).union(&b.difference(&a));
            prop_assert_ne!(parts.compare(&a.union(&b)), Comparison::Unequal);
            prop_assert_eq!(a.union(&b).size() + a.intersection(&b).size(), a.size() + b.size());
        }
    }
}
