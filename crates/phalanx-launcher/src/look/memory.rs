//! The memory of another process, read while it runs, and the symbols of the libraries in it.
//!
//! Nothing here stops the process, and nothing that is read is believed: each read has a length of ours, and an address that
//! leads nowhere is an error. The kernel lets this process read where it might attach a debugger: a launcher may with its
//! ranks, also where only ancestors may (`kernel.yama.ptrace_scope` 1).

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of one string or table, at most.
const LONGEST: usize = 1 << 20;
/// Bytes of a list of mappings, at most.
const MAPS: u64 = 8 << 20;

/// Bytes that are read of a process, at most, and what a read counts besides its own: some thousand stacks, or as much nonsense.
const MOST: u64 = 64 << 20;
const READ: u64 = 64;

/// Memory of a process, as far as it is looked at: whatever stands in it, a look comes to an end.
pub(super) struct Memory {
    file: File,
    left: Cell<u64>,
}

/// A file that is mapped into a process, where its first byte is.
pub(super) struct Mapped {
    pub(super) path: String,
    pub(super) base: u64,
}

impl Memory {
    /// # Errors
    /// When there is no such process, or it may not be looked into.
    pub(super) fn of(pid: u32) -> io::Result<Memory> {
        File::open(format!("/proc/{pid}/mem")).map(Memory::over)
    }

    /// The memory that a file is.
    pub(super) fn over(file: File) -> Memory {
        Memory { file, left: Cell::new(MOST) }
    }

    /// Fills `into` from `address` on.
    pub(super) fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        // Addresses of the upper half are no program's, and no offsets of a file, either.
        let left = self.left.get().checked_sub(READ + into.len() as u64);
        match (i64::try_from(address), left) {
            (Ok(4096..), Some(left)) => {
                self.left.set(left);
                self.file.read_exact_at(into, address)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) fn bytes(&self, address: u64, len: usize) -> io::Result<Vec<u8>> {
        if len > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn word(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn half(&self, address: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// The text at `address` that ends with a zero, if it is `wanted`.
    fn is_text(&self, address: u64, wanted: &str) -> bool {
        let mut bytes = vec![0; wanted.len() + 1];
        self.read(address, &mut bytes).is_ok() && bytes.strip_suffix(&[0]) == Some(wanted.as_bytes())
    }
}

/// The files that are mapped into a process, each with the place of its first byte.
pub(super) fn mapped_files(pid: u32) -> io::Result<Vec<Mapped>> {
    Ok(files_in(&super::read_at_most(&format!("/proc/{pid}/maps"), MAPS)?))
}

/// The same, as the kernel prints it. (A path may hold anything.)
pub(super) fn files_in(text: &str) -> Vec<Mapped> {
    let line = |line: &str| {
        // "start-end perms offset dev inode   path"
        let mut words = line.split_whitespace();
        let (range, _perms, offset) = (words.next()?, words.next()?, words.next()?);
        let path = line.find('/').map(|at| line[at..].to_owned())?;
        let base = u64::from_str_radix(range.split_once('-')?.0, 16).ok()?;
        (u64::from_str_radix(offset, 16).ok()? == 0).then_some(Mapped { path, base })
    };
    text.lines().filter_map(line).collect()
}

/// Whether other processes may have the memory at `address`, too.
pub(super) fn is_shared(pid: u32, address: u64) -> bool {
    super::read_at_most(&format!("/proc/{pid}/maps"), MAPS).is_ok_and(|text| is_shared_in(&text, address))
}

/// The same, as the kernel prints it.
pub(super) fn is_shared_in(text: &str, address: u64) -> bool {
    text.lines().any(|line| {
        // "start-end rw-s ...": the last of the permissions is s where it is shared, p where it is private.
        let mut words = line.split_whitespace();
        let (range, perms) = (words.next().and_then(|range| range.split_once('-')), words.next());
        let number = |word| u64::from_str_radix(word, 16);
        let is_there = range.is_some_and(|(start, end)| {
            number(start).is_ok_and(|at| at <= address) && number(end).is_ok_and(|at| address < at)
        });
        is_there && perms.is_some_and(|perms| perms.ends_with('s'))
    })
}

/// What a process executes.
pub(super) fn executable(pid: u32) -> Option<String> {
    Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
}

/// The dynamic symbols of an ELF file that is mapped at `base`.
pub(super) struct Symbols<'m> {
    memory: &'m Memory,
    bias: u64,
    names: u64,
    symbols: u64,
    /// Its hash table, as GNU's tools make it.
    hash: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// Bytes of a symbol, of a program header and of an entry of the dynamic section.
const SYMBOL: u64 = 24;
const HEADER: u64 = 56;
const ENTRY: u64 = 16;

impl<'m> Symbols<'m> {
    /// `None` for what is no such file of 64 bits.
    pub(super) fn of(memory: &'m Memory, base: u64) -> Option<Symbols<'m>> {
        let head = memory.bytes(base, 64).ok()?;
        if head[..5] != [0x7f, b'E', b'L', b'F', 2] {
            return None;
        }
        let at = u64::from_ne_bytes(head[32..40].try_into().ok()?);
        let count = u64::from(u16::from_ne_bytes([head[56], head[57]])).min(64);
        let (mut first, mut dynamic) = (None, None);
        for number in 0..count {
            let header = memory.bytes(base.checked_add(at)? + number * HEADER, HEADER as usize).ok()?;
            let word = |at: usize| header[at..at + 8].try_into().map(u64::from_ne_bytes).unwrap_or(0);
            let (kind, offset, address) = (u32::from_ne_bytes(header[..4].try_into().ok()?), word(8), word(16));
            match kind {
                PT_LOAD if offset == 0 => first = Some(address),
                PT_DYNAMIC => dynamic = Some(address),
                _ => {}
            }
        }
        let bias = base.wrapping_sub(first?);
        let dynamic = bias.wrapping_add(dynamic?);
        let (mut names, mut symbols, mut hash) = (None, None, None);
        for number in 0..256 {
            let entry = dynamic.checked_add(number * ENTRY)?;
            let (kind, value) = (memory.word(entry).ok()?, memory.word(entry + 8).ok()?);
            // Some loaders write the true addresses here, others leave what the file says.
            let address = if value >= bias { value } else { bias.wrapping_add(value) };
            match kind {
                DT_NULL => break,
                DT_STRTAB => names = Some(address),
                DT_SYMTAB => symbols = Some(address),
                DT_GNU_HASH => hash = Some(address),
                _ => {}
            }
        }
        Some(Symbols { memory, bias, names: names?, symbols: symbols?, hash: hash? })
    }

    /// The address of a symbol.
    pub(super) fn find(&self, name: &str) -> Option<u64> {
        let half = |at: u64| self.memory.half(at).ok();
        let wanted = name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
        let (buckets, offset, bloom) = (half(self.hash)?, half(self.hash + 4)?, half(self.hash + 8)?);
        let first = self.hash + 16 + u64::from(bloom) * 8;
        let chains = first + u64::from(buckets) * 4;
        let mut number = half(first + u64::from(wanted.checked_rem(buckets)?) * 4)?;
        for _ in 0..10_000 {
            let hash = half(chains + u64::from(number.checked_sub(offset)?) * 4)?;
            if hash | 1 == wanted | 1 {
                let symbol = self.symbols.checked_add(u64::from(number) * SYMBOL)?;
                if self.memory.is_text(self.names.checked_add(u64::from(half(symbol)?))?, name) {
                    return Some(self.bias.wrapping_add(self.memory.word(symbol + 8).ok()?));
                }
            }
            if hash & 1 == 1 {
                return None;
            }
            number = number.checked_add(1)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_and_symbols_are_found() {
        let memory = Memory::of(std::process::id()).unwrap();
        let here = 0x1122_3344_5566_7788u64;
        assert_eq!(memory.word(&raw const here as u64).unwrap(), here);
        assert!(memory.word(0).is_err() && memory.word(u64::MAX - 3).is_err() && memory.word(8192).is_err());
        let files = mapped_files(std::process::id()).unwrap();
        let library = files.iter().find(|file| file.path.contains("/libc.so") || file.path.contains("/libc-")).unwrap();
        let symbols = Symbols::of(&memory, library.base).unwrap();
        let known = symbols.find("getpid").unwrap();
        assert_eq!(known, libc::getpid as *const () as u64);
        assert_eq!(symbols.find("no_such_function_here"), None);
    }

    #[test]
    fn what_is_no_library_has_no_symbols() {
        let memory = Memory::of(std::process::id()).unwrap();
        let nonsense: Vec<u8> = (0..4096u32).map(|n| (n * 7) as u8).collect();
        assert!(Symbols::of(&memory, nonsense.as_ptr() as u64).is_none());
        let mut looks = nonsense.clone();
        looks[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2]);
        assert!(Symbols::of(&memory, looks.as_ptr() as u64).is_none());
    }
}
