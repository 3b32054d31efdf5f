//! Enumerations and categories of variables (MPI 5.0 §15.3.5, §15.3.9).

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure};
use crate::handle::{Kind, RawEnum, token};
use crate::param::{Out, OutArray, Text, TextOut};

use super::variables::{CATEGORIES, CONTROLS, Category, PERFORMANCES, SWITCH};
use super::{at, give, refuse};

/// The handle of the enumeration of off and on. It is never freed.
pub(super) fn switch() -> RawEnum {
    RawEnum(token(Kind::ToolEnum, 0, 0))
}

fn check(enumeration: RawEnum) -> Done {
    if enumeration == switch() { Ok(()) } else { refuse(consts::T_ERR_INVALID_HANDLE) }
}

/// Describes an enumeration.
#[mpi_entry(MPI_T_enum_get_info, tool)]
fn enum_get_info(enumeration: RawEnum, number: OutArray<c_int>, name: TextOut, name_len: OutArray<c_int>) -> Done {
    check(enumeration)?;
    give(SWITCH.0, &name, &name_len)?;
    number.set(0, SWITCH.1.len() as c_int);
    Ok(())
}

/// Gives an item of an enumeration.
#[mpi_entry(MPI_T_enum_get_item, tool)]
fn enum_get_item(
    enumeration: RawEnum,
    index: c_int,
    value: OutArray<c_int>,
    name: TextOut,
    name_len: OutArray<c_int>,
) -> Done {
    check(enumeration)?;
    let Some(item) = usize::try_from(index).ok().and_then(|index| SWITCH.1.get(index)) else {
        return refuse(consts::T_ERR_INVALID_ITEM);
    };
    give(item, &name, &name_len)?;
    value.set(0, index);
    Ok(())
}

/// Gives the number of categories.
#[mpi_entry(MPI_T_category_get_num, tool)]
fn category_get_num(number: Out<c_int>) -> Done {
    number.set(CATEGORIES.len() as c_int);
    Ok(())
}

impl Category {
    fn controls(&self) -> Vec<usize> {
        (0..CONTROLS.len()).filter(|i| CONTROLS[*i].category == self.name).collect()
    }

    fn performances(&self) -> Vec<usize> {
        (0..PERFORMANCES.len()).filter(|i| PERFORMANCES[*i].category == self.name).collect()
    }

    fn categories(&self) -> Vec<usize> {
        (0..CATEGORIES.len()).filter(|i| self.children.contains(&CATEGORIES[*i].name)).collect()
    }
}

/// Describes a category.
#[mpi_entry(MPI_T_category_get_info, tool)]
fn category_get_info(
    index: c_int,
    name: TextOut,
    name_len: OutArray<c_int>,
    desc: TextOut,
    desc_len: OutArray<c_int>,
    controls: OutArray<c_int>,
    performances: OutArray<c_int>,
    categories: OutArray<c_int>,
) -> Done {
    let category = at(CATEGORIES, index)?;
    give(category.name, &name, &name_len)?;
    give(category.text, &desc, &desc_len)?;
    controls.set(0, category.controls().len() as c_int);
    performances.set(0, category.performances().len() as c_int);
    categories.set(0, category.children.len() as c_int);
    Ok(())
}

/// Gives the number of events in a category: there are none.
#[mpi_entry(MPI_T_category_get_num_events, tool)]
fn category_get_num_events(index: c_int, number: Out<c_int>) -> Done {
    at(CATEGORIES, index)?;
    number.set(0);
    Ok(())
}

/// Gives the number of the category of a name.
#[mpi_entry(MPI_T_category_get_index, tool)]
fn category_get_index(name: Text, index: Out<c_int>) -> Done {
    match CATEGORIES.iter().position(|category| category.name == name.0) {
        Some(found) => index.set(found as c_int),
        None => return refuse(consts::T_ERR_INVALID_NAME),
    }
    Ok(())
}

/// Stores the first members of a category, as many as there is room for.
fn list(index: c_int, room: c_int, out: &OutArray<c_int>, members: impl Fn(&Category) -> Vec<usize>) -> Done {
    let category = at(CATEGORIES, index)?;
    let Ok(room) = usize::try_from(room) else { return refuse(consts::T_ERR_INVALID) };
    let members = members(category);
    let given: Result<(), Failure> = out.need(room.min(members.len()), "the array of indices");
    given?;
    members.iter().take(room).enumerate().for_each(|(i, member)| out.set(i, *member as c_int));
    Ok(())
}

/// Gives the control variables in a category.
#[mpi_entry(MPI_T_category_get_cvars, tool)]
fn category_get_cvars(index: c_int, room: c_int, indices: OutArray<c_int>) -> Done {
    list(index, room, &indices, Category::controls)
}

/// Gives the performance variables in a category.
#[mpi_entry(MPI_T_category_get_pvars, tool)]
fn category_get_pvars(index: c_int, room: c_int, indices: OutArray<c_int>) -> Done {
    list(index, room, &indices, Category::performances)
}

/// Gives the events in a category: there are none.
#[mpi_entry(MPI_T_category_get_events, tool)]
fn category_get_events(index: c_int, room: c_int, indices: OutArray<c_int>) -> Done {
    list(index, room, &indices, |_| Vec::new())
}

/// Gives the categories in a category.
#[mpi_entry(MPI_T_category_get_categories, tool)]
fn category_get_categories(index: c_int, room: c_int, indices: OutArray<c_int>) -> Done {
    list(index, room, &indices, Category::categories)
}

/// Gives a number that grows when categories change: they never do.
#[mpi_entry(MPI_T_category_changed, tool)]
fn category_changed(update_number: Out<c_int>) -> Done {
    update_number.set(0);
    Ok(())
}
