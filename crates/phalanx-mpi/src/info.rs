//! Info objects: lists of keys and values (MPI 5.0 §10).

use std::ffi::c_int;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::{Kind, RawInfo};
use crate::param::{self, Out, Param, Text, TextList, TextOut};
use crate::state;
use crate::table::Table;

static INFOS: Table<Arc<Info>> = Table::new(Kind::Info);

/// `MPI_INFO_ENV`: how this process was started.
static ENVIRONMENT: LazyLock<Arc<Info>> = LazyLock::new(|| {
    let arguments: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let command = arguments.first().cloned().unwrap_or_default();
    let size = state::process().and_then(|p| usize::try_from(p.world.comm.size()).ok()).unwrap_or(1);
    Arc::new(Info::environment(&command, arguments.get(1..).unwrap_or_default(), size, &host()))
});

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// An info argument, for which `MPI_INFO_NULL` may stand.
pub(crate) struct InfoRef(Option<Arc<Info>>);

impl<W> Param<W> for InfoRef {
    type Raw = RawInfo;
    unsafe fn decode(raw: RawInfo) -> Result<InfoRef, Failure> {
        if raw == RawInfo::NULL { Ok(InfoRef(None)) } else { Ok(InfoRef(Some(find(raw)?))) }
    }
}

impl InfoRef {
    /// A copy of the list; empty for the null handle.
    pub(crate) fn hints(&self) -> Result<Info, Failure> {
        match &self.0 {
            Some(info) => copy(info),
            None => Ok(Info::new()),
        }
    }
}

/// An info argument that must exist.
pub(crate) struct RealInfo(Arc<Info>);

impl Deref for RealInfo {
    type Target = Info;
    fn deref(&self) -> &Info {
        &self.0
    }
}

impl<W> Param<W> for RealInfo {
    type Raw = RawInfo;
    unsafe fn decode(raw: RawInfo) -> Result<RealInfo, Failure> {
        Ok(RealInfo(find(raw)?))
    }
}

fn find(raw: RawInfo) -> Result<Arc<Info>, Failure> {
    if raw.0 == consts::INFO_ENV {
        return Ok(ENVIRONMENT.clone());
    }
    INFOS.get(raw.0).ok_or_else(|| bad_info(raw))
}

#[cold]
fn bad_info(raw: RawInfo) -> Failure {
    let text = if raw == RawInfo::NULL {
        "the info object is MPI_INFO_NULL".to_string()
    } else {
        format!("the info handle 0x{:x} is not valid: it was freed, or never was an info object", raw.0)
    };
    wrong(ErrorClass::Info, text)
}

/// The entries of the info objects in an array (of `MPI_Comm_spawn_multiple`).
pub(crate) fn entries_of(raw: RawInfo) -> Result<Vec<(String, String)>, Failure> {
    if raw == RawInfo::NULL { Ok(Vec::new()) } else { Ok(find(raw)?.to_entries()) }
}

/// A list with the same entries.
pub(crate) fn copy(info: &Info) -> Result<Info, Failure> {
    Ok(Info::from_entries(info.to_entries())?)
}

/// Gives a list a handle.
pub(crate) fn adopt(info: Info) -> Result<RawInfo, Failure> {
    let raw = INFOS.insert(Arc::new(info));
    raw.map(RawInfo).ok_or_else(|| wrong(ErrorClass::Other, "too many info objects exist; free some"))
}

/// Makes an empty list.
#[mpi_entry(MPI_Info_create, anytime)]
fn info_create(info: Out<RawInfo>) -> Done {
    info.set(adopt(Info::new())?);
    Ok(())
}

/// Makes a list of what is known about how the program was started.
#[mpi_entry(MPI_Info_create_env, anytime)]
fn info_create_env(argc: c_int, argv: TextList, info: Out<RawInfo>) -> Done {
    let arguments = argv.read(Some(param::length(argc, ErrorClass::Arg, "arguments")?))?;
    if arguments.is_empty() {
        info.set(adopt(copy(&ENVIRONMENT)?)?);
    } else {
        let rest = arguments.get(1..).unwrap_or_default();
        info.set(adopt(Info::environment(&arguments[0], rest, 1, &host()))?);
    }
    Ok(())
}

/// Makes a list with the same entries.
#[mpi_entry(MPI_Info_dup, anytime)]
fn info_dup(info: RealInfo, new: Out<RawInfo>) -> Done {
    new.set(adopt(copy(&info)?)?);
    Ok(())
}

/// Frees a list.
#[mpi_entry(MPI_Info_free, anytime)]
fn info_free(info: Out<RawInfo>) -> Done {
    let raw = info.get();
    if raw.0 == consts::INFO_ENV {
        return Err(wrong(ErrorClass::Info, "MPI_INFO_ENV cannot be freed"));
    }
    INFOS.remove(raw.0).ok_or_else(|| bad_info(raw))?;
    info.set(RawInfo::NULL);
    Ok(())
}

fn read_only(raw: RawInfo) -> Result<Arc<Info>, Failure> {
    if raw.0 == consts::INFO_ENV {
        return Err(wrong(ErrorClass::Info, "MPI_INFO_ENV cannot be changed"));
    }
    find(raw)
}

/// Sets a value.
#[mpi_entry(MPI_Info_set, anytime)]
fn info_set(info: RawInfo, key: Text, value: Text) -> Done {
    Ok(read_only(info)?.set(&key.0, &value.0)?)
}

/// Deletes a key.
#[mpi_entry(MPI_Info_delete, anytime)]
fn info_delete(info: RawInfo, key: Text) -> Done {
    Ok(read_only(info)?.delete(&key.0)?)
}

/// Number of keys.
#[mpi_entry(MPI_Info_get_nkeys, anytime)]
fn info_get_nkeys(info: RealInfo, n: Out<c_int>) -> Done {
    n.set(info.len() as c_int);
    Ok(())
}

/// The key at a position.
#[mpi_entry(MPI_Info_get_nthkey, anytime)]
fn info_get_nthkey(info: RealInfo, n: c_int, key: TextOut) -> Done {
    key.set(&info.nth_key(n.into())?, consts::MAX_INFO_KEY as usize)?;
    Ok(())
}

/// A value (the function of MPI-2: `valuelen` does not count the closing zero).
#[mpi_entry(MPI_Info_get, anytime)]
fn info_get(info: RealInfo, key: Text, valuelen: c_int, value: TextOut, flag: Out<c_int>) -> Done {
    let found = info.get(&key.0)?;
    flag.set(found.is_some().into());
    if let Some(found) = found {
        let room = usize::try_from(valuelen)
            .map_err(|_| wrong(ErrorClass::Arg, format!("the room for the value is {valuelen}")))?;
        value.set(&found, room.saturating_add(1))?;
    }
    Ok(())
}

/// The length of a value, without the closing zero.
#[mpi_entry(MPI_Info_get_valuelen, anytime)]
fn info_get_valuelen(info: RealInfo, key: Text, length: Out<c_int>, flag: Out<c_int>) -> Done {
    let found = info.get(&key.0)?;
    flag.set(found.is_some().into());
    if let Some(found) = found {
        length.set(found.len() as c_int);
    }
    Ok(())
}

/// A value, and how many bytes it needs with the closing zero.
#[mpi_entry(MPI_Info_get_string, anytime)]
fn info_get_string(info: RealInfo, key: Text, length: Out<c_int>, value: TextOut, flag: Out<c_int>) -> Done {
    let found = info.get(&key.0)?;
    flag.set(found.is_some().into());
    if let Some(found) = found {
        let room = usize::try_from(length.get())
            .map_err(|_| wrong(ErrorClass::Arg, format!("the room for the value is {}", length.get())))?;
        value.set(&found, room)?;
        length.set(found.len() as c_int + 1);
    }
    Ok(())
}
