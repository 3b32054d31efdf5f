//! The SONAME of a shared library, read from the file: the name by which the loader knows it.

use std::path::Path;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// The SONAME of a 64-bit ELF file of this machine's byte order; `None` if it is something else or has none.
pub(crate) fn soname(path: &Path) -> Option<String> {
    soname_of(&std::fs::read(path).ok()?)
}

pub(crate) fn soname_of(file: &[u8]) -> Option<String> {
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if file.get(..6)? != [0x7f, b'E', b'L', b'F', 2, order] {
        return None;
    }
    let start = usize::try_from(u64_at(file, 32)?).ok()?;
    let (size, count) = (u16_at(file, 54)? as usize, u16_at(file, 56)? as usize);
    let mut loads = Vec::new();
    let mut dynamic = None;
    for i in 0..count {
        let header = start.checked_add(i * size)?;
        let word = |at: usize| u64_at(file, header.checked_add(at)?);
        let (offset, address, length) = (word(8)?, word(16)?, word(32)?);
        match u32_at(file, header)? {
            PT_LOAD => loads.push((offset, address, length)),
            PT_DYNAMIC => dynamic = Some((offset, length)),
            _ => {}
        }
    }
    let (offset, length) = dynamic?;
    let (mut names, mut name) = (None, None);
    for i in 0..length / 16 {
        let entry = usize::try_from(offset.checked_add(i * 16)?).ok()?;
        let value = u64_at(file, entry.checked_add(8)?);
        match u64_at(file, entry)? {
            DT_NULL => break,
            DT_STRTAB => names = value,
            DT_SONAME => name = value,
            _ => {}
        }
    }
    let (names, name) = (names?, name?);
    // The table's position is an address: find the segment that is loaded there.
    let (offset, address, _) =
        loads.into_iter().find(|(_, address, length)| (*address..address.saturating_add(*length)).contains(&names))?;
    let at = usize::try_from(offset.checked_add(names - address)?.checked_add(name)?).ok()?;
    let text = file.get(at..)?;
    let end = text.iter().position(|byte| *byte == 0)?;
    String::from_utf8(text[..end].to_vec()).ok()
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(file: &[u8], at: usize) -> Option<u16> {
    bytes(file, at).map(u16::from_ne_bytes)
}

fn u32_at(file: &[u8], at: usize) -> Option<u32> {
    bytes(file, at).map(u32::from_ne_bytes)
}

fn u64_at(file: &[u8], at: usize) -> Option<u64> {
    bytes(file, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library that this test itself is linked to.
    fn c_library() -> Option<Vec<u8>> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let path = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|p| p.contains("/libc"))?;
        std::fs::read(path).ok()
    }

    #[test]
    fn the_c_library_knows_its_name() {
        let Some(file) = c_library() else { return };
        assert!(soname_of(&file).unwrap().starts_with("libc"), "{:?}", soname_of(&file));
    }

    #[test]
    fn broken_files_have_no_name() {
        assert_eq!(soname_of(b"#!/bin/sh\n"), None);
        assert_eq!(soname_of(b"\x7fELF\x02\x01"), None);
        let Some(mut file) = c_library() else { return };
        for at in (0..1024).step_by(7) {
            file[at] ^= 0xff;
            let _ = soname_of(&file);
            file[at] ^= 0xff;
        }
        assert_eq!(soname_of(&file[..100]), None);
    }
}
