//! Groups: ordered sets of processes (MPI 5.0 §7.3).

use std::ffi::c_int;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use phalanx_engine::ErrorClass;
use phalanx_engine::group::Group;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::{Kind, RawGroup};
use crate::param::{self, In, Out, OutArray, Param};
use crate::state;
use crate::table::Table;

static GROUPS: Table<Arc<Group>> = Table::new(Kind::Group);
static EMPTY: LazyLock<Arc<Group>> = LazyLock::new(|| Arc::new(Group::empty()));

/// A group argument.
pub(crate) struct GroupRef {
    group: Arc<Group>,
    raw: RawGroup,
}

impl Deref for GroupRef {
    type Target = Group;
    fn deref(&self) -> &Group {
        &self.group
    }
}

impl<W> Param<W> for GroupRef {
    type Raw = RawGroup;
    unsafe fn decode(raw: RawGroup) -> Result<GroupRef, Failure> {
        if raw.0 == consts::GROUP_EMPTY {
            return Ok(GroupRef { group: EMPTY.clone(), raw });
        }
        match GROUPS.get(raw.0) {
            Some(group) => Ok(GroupRef { group, raw }),
            None => Err(bad_group(raw)),
        }
    }
}

#[cold]
fn bad_group(raw: RawGroup) -> Failure {
    let text = if raw == RawGroup::NULL {
        "the group is MPI_GROUP_NULL".to_string()
    } else {
        format!("the group handle 0x{:x} is not valid: it was freed, or never was a group", raw.0)
    };
    wrong(ErrorClass::Group, text)
}

/// Gives a group a handle.
pub(crate) fn adopt(group: Group) -> Result<RawGroup, Failure> {
    if group.size() == 0 {
        return Ok(RawGroup(consts::GROUP_EMPTY));
    }
    let raw = GROUPS.insert(Arc::new(group));
    raw.map(RawGroup).ok_or_else(|| wrong(ErrorClass::Other, "too many groups exist; free some"))
}

/// Number of processes.
#[mpi_entry(MPI_Group_size)]
fn group_size(group: GroupRef, size: Out<c_int>) -> Done {
    size.set(group.size() as c_int);
    Ok(())
}

/// Number of the calling process, or `MPI_UNDEFINED`.
#[mpi_entry(MPI_Group_rank)]
fn group_rank(group: GroupRef, rank: Out<c_int>) -> Done {
    let me = state::need_process()?.engine.me();
    rank.set(group.rank_of(me).map_or(consts::UNDEFINED, |r| r as c_int));
    Ok(())
}

/// Compares two groups.
#[mpi_entry(MPI_Group_compare)]
fn group_compare(group1: GroupRef, group2: GroupRef, result: Out<c_int>) -> Done {
    let same = group1.raw == group2.raw;
    result.set(if same { consts::IDENT } else { crate::numbers::comparison(group1.compare(&group2)) });
    Ok(())
}

/// The numbers that processes of one group have in another.
#[mpi_entry(MPI_Group_translate_ranks)]
fn group_translate_ranks(
    group1: GroupRef,
    n: c_int,
    ranks1: In<c_int>,
    group2: GroupRef,
    ranks2: OutArray<c_int>,
) -> Done {
    let n = length(n)?;
    ranks2.need(n, "the array of results")?;
    let translated = group1.translate(ranks1.read(n, "the array of ranks")?, &group2)?;
    for (i, rank) in translated.iter().enumerate() {
        ranks2.set(i, *rank);
    }
    Ok(())
}

fn length(n: c_int) -> Result<usize, Failure> {
    param::length(n, ErrorClass::Arg, "entries")
}

/// All processes of both groups.
#[mpi_entry(MPI_Group_union)]
fn group_union(group1: GroupRef, group2: GroupRef, new: Out<RawGroup>) -> Done {
    new.set(adopt(group1.union(&group2))?);
    Ok(())
}

/// The processes that are in both groups.
#[mpi_entry(MPI_Group_intersection)]
fn group_intersection(group1: GroupRef, group2: GroupRef, new: Out<RawGroup>) -> Done {
    new.set(adopt(group1.intersection(&group2))?);
    Ok(())
}

/// The processes of the first group that are not in the second.
#[mpi_entry(MPI_Group_difference)]
fn group_difference(group1: GroupRef, group2: GroupRef, new: Out<RawGroup>) -> Done {
    new.set(adopt(group1.difference(&group2))?);
    Ok(())
}

/// The given processes, in that order.
#[mpi_entry(MPI_Group_incl)]
fn group_incl(group: GroupRef, n: c_int, ranks: In<c_int>, new: Out<RawGroup>) -> Done {
    new.set(adopt(group.incl(ranks.read(length(n)?, "the array of ranks")?)?)?);
    Ok(())
}

/// All but the given processes.
#[mpi_entry(MPI_Group_excl)]
fn group_excl(group: GroupRef, n: c_int, ranks: In<c_int>, new: Out<RawGroup>) -> Done {
    new.set(adopt(group.excl(ranks.read(length(n)?, "the array of ranks")?)?)?);
    Ok(())
}

/// The processes of the given ranges (first, last, stride), in that order.
#[mpi_entry(MPI_Group_range_incl)]
fn group_range_incl(group: GroupRef, n: c_int, ranges: In<[c_int; 3]>, new: Out<RawGroup>) -> Done {
    new.set(adopt(group.range_incl(ranges.read(length(n)?, "the array of ranges")?)?)?);
    Ok(())
}

/// All but the processes of the given ranges.
#[mpi_entry(MPI_Group_range_excl)]
fn group_range_excl(group: GroupRef, n: c_int, ranges: In<[c_int; 3]>, new: Out<RawGroup>) -> Done {
    new.set(adopt(group.range_excl(ranges.read(length(n)?, "the array of ranges")?)?)?);
    Ok(())
}

/// Frees a group.
#[mpi_entry(MPI_Group_free)]
fn group_free(group: Out<RawGroup>) -> Done {
    let raw = group.get();
    if raw.0 != consts::GROUP_EMPTY && GROUPS.remove(raw.0).is_none() {
        return Err(bad_group(raw));
    }
    group.set(RawGroup::NULL);
    Ok(())
}

/// The group of a process set: `mpi://WORLD` or `mpi://SELF`.
#[mpi_entry(MPI_Group_from_session_pset)]
fn group_from_session_pset(session: crate::handle::RawSession, pset: crate::param::Text, new: Out<RawGroup>) -> Done {
    let session = crate::session::need(session)?;
    let process = state::need_process()?;
    let group = match crate::session::pset(&pset.0)? {
        crate::session::Pset::World => process.world.comm.group(),
        crate::session::Pset::Myself => process.self_comm.comm.group(),
    };
    new.set(adopt(group.of_session(session.buffer.clone()))?);
    Ok(())
}
