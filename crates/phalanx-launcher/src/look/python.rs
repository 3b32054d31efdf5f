//! The Python stacks of a process, read from its memory while it runs.
//!
//! The process need not help: it may compute in C with the interpreter's lock, be stopped, or wait in a debugger. It may as well
//! change what is being read, so a stack counts only when it was the same twice; one that never is (a thread that calls and
//! returns all the time) is given as it was last seen. Each object has to be of the type that it should be of, each list ends
//! after so many, so that memory full of nonsense gives no stack instead of a wrong one.

use std::collections::HashMap;
use std::fs;
use std::io;

use phalanx_trace::layout::{ENTRIES, Layout, WORDS, layout};
use phalanx_waits::Frame;

use super::lines::line_at;
use super::memory::{Memory, Symbols, executable, mapped_files};

/// Interpreters, threads and frames that are looked at.
const INTERPRETERS: usize = 8;
const THREADS: usize = 128;
const FRAMES: usize = 200;
/// Looks at a stack that changes all the time.
const LOOKS: usize = 5;
/// Letters of a name and bytes of a table of lines.
const NAME: u64 = 4096;
const TABLE: u64 = 1 << 18;

/// Why there are no stacks.
#[derive(Debug)]
pub(super) enum Nothing {
    /// No Python is in this process.
    NotPython,
    /// One whose memory is not known, as its version says.
    Version(String),
    /// It may not be looked into, or what is there makes no sense.
    Unreadable(io::Error),
}

/// The stack of each thread that has a Python state, innermost frame first, by its number in the kernel.
pub(super) fn stacks(pid: u32) -> Result<Vec<(u32, Vec<Frame>)>, Nothing> {
    let files = mapped_files(pid).map_err(Nothing::Unreadable)?;
    let own = executable(pid);
    let may_be = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.contains("python") || Some(path) == own.as_deref()
    };
    let candidates: Vec<u64> = files.iter().filter(|file| may_be(&file.path)).map(|file| file.base).collect();
    if candidates.is_empty() {
        return Err(Nothing::NotPython);
    }
    let memory = Memory::of(pid).map_err(Nothing::Unreadable)?;
    for base in candidates {
        let Some(symbols) = Symbols::of(&memory, base) else { continue };
        let Some(runtime) = symbols.find("_PyRuntime") else { continue };
        // Before 3.11 there was no such variable.
        let version = symbols.find("Py_Version").map_or(Ok(0), |at| memory.word(at)).map_err(Nothing::Unreadable)?;
        let table = || {
            let bytes = memory.bytes(runtime, WORDS * 8)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
        };
        let layout = layout(version, table).map_err(Nothing::Unreadable)?;
        let types = symbols.find("PyCode_Type").zip(symbols.find("PyUnicode_Type"));
        let (Some(layout), Some((code_type, text_type))) = (layout, types) else {
            return Err(Nothing::Version(match version {
                0 => "older than 3.11".to_owned(),
                _ => format!("{}.{}", version >> 24 & 0xff, version >> 16 & 0xff),
            }));
        };
        let here = fs::read_link(format!("/proc/{pid}/cwd")).ok().map(|path| path.to_string_lossy().into_owned());
        let mut reader = Reader { memory: &memory, layout, code_type, text_type, codes: HashMap::new(), here };
        return reader.threads(runtime).map_err(Nothing::Unreadable);
    }
    Err(Nothing::NotPython)
}

pub(super) struct Reader<'m> {
    pub(super) memory: &'m Memory,
    pub(super) layout: Layout,
    pub(super) code_type: u64,
    pub(super) text_type: u64,
    pub(super) codes: HashMap<u64, Option<Code>>,
    /// The directory to which paths of scripts are relative.
    pub(super) here: Option<String>,
}

/// What is kept of a code object.
#[derive(Clone)]
pub(super) struct Code {
    file: String,
    name: String,
    lines: Vec<u8>,
    first: u32,
}

impl Reader<'_> {
    pub(super) fn threads(&mut self, runtime: u64) -> io::Result<Vec<(u32, Vec<Frame>)>> {
        let mut stacks = Vec::new();
        let mut interpreter = self.memory.word(runtime.wrapping_add(self.layout.interpreters))?;
        for _ in 0..INTERPRETERS {
            if interpreter == 0 {
                break;
            }
            let mut thread = self.memory.word(interpreter.wrapping_add(self.layout.threads))?;
            for _ in 0..THREADS {
                if thread == 0 {
                    break;
                }
                // A thread that ends meanwhile has none.
                if let Ok(stack) = self.thread(thread) {
                    stacks.push(stack);
                }
                let Ok(next) = self.memory.word(thread.wrapping_add(self.layout.next_thread)) else { break };
                thread = next;
            }
            interpreter = self.memory.word(interpreter.wrapping_add(self.layout.next_interpreter))?;
        }
        Ok(stacks)
    }

    fn thread(&mut self, thread: u64) -> io::Result<(u32, Vec<Frame>)> {
        let number = self.memory.word(thread.wrapping_add(self.layout.native_id))? as u32;
        let mut last: Option<Vec<(u64, u64)>> = None;
        for _ in 0..LOOKS {
            let Ok(chain) = self.chain(thread) else { continue };
            let codes = |chain: &[(u64, u64)]| chain.iter().map(|(code, _)| *code).collect::<Vec<_>>();
            let is_same = last.as_ref().is_some_and(|last| codes(last) == codes(&chain));
            last = Some(chain);
            if is_same {
                break;
            }
        }
        let chain = last.ok_or(io::ErrorKind::InvalidData)?;
        Ok((number, chain.into_iter().filter_map(|(code, at)| self.frame(code, at)).collect()))
    }

    /// The code objects of a thread's frames, and where each is in its instructions.
    fn chain(&self, thread: u64) -> io::Result<Vec<(u64, u64)>> {
        let Layout { frame: (at, inner), code, previous, instruction, owner, .. } = self.layout;
        let mut frame = self.memory.word(thread.wrapping_add(at))?;
        if let Some(inner) = inner
            && frame != 0
        {
            frame = self.memory.word(frame.wrapping_add(inner))?;
        }
        let mut chain = Vec::new();
        let len = [code, previous, instruction].into_iter().max().unwrap_or(0).max(owner) + 8;
        let mut bytes = vec![0; len];
        for _ in 0..FRAMES {
            if frame == 0 {
                break;
            }
            self.memory.read(frame, &mut bytes)?;
            let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
            if bytes[owner] < ENTRIES {
                // The lowest bits of a reference are no part of the address.
                let object = word(code) & !7;
                let begin = object.wrapping_add(self.layout.instructions);
                chain.push((object, word(instruction).wrapping_sub(begin)));
            }
            frame = word(previous);
        }
        Ok(chain)
    }

    fn frame(&mut self, at: u64, offset: u64) -> Option<Frame> {
        if !self.codes.contains_key(&at) {
            let code = self.code(at).ok().flatten();
            self.codes.insert(at, code);
        }
        let code = self.codes.get(&at)?.as_ref()?;
        // Instructions that are kept elsewhere, and none yet: the function is known all the same.
        let line = line_at(&code.lines, i64::from(code.first), offset).unwrap_or(code.first);
        Some(Frame { file: code.file.clone(), line, function: code.name.clone() })
    }

    fn code(&self, at: u64) -> io::Result<Option<Code>> {
        let Layout { kind, file, name, lines, first_line, .. } = self.layout;
        if self.memory.word(at.wrapping_add(kind))? != self.code_type {
            return Ok(None);
        }
        let len = [file, name, lines, first_line].into_iter().max().unwrap_or(0) + 8;
        let bytes = self.memory.bytes(at, len)?;
        let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
        let first = bytes[first_line..first_line + 4].try_into().map_or(0, i32::from_ne_bytes);
        let (Some(mut path), Some(name)) = (self.text(word(file))?, self.text(word(name))?) else { return Ok(None) };
        if !path.starts_with(['/', '<'])
            && let Some(here) = &self.here
        {
            path = format!("{here}/{}", path.trim_start_matches("./"));
        }
        let lines = self.lines(word(lines))?;
        Ok(Some(Code { file: path, name, lines, first: u32::try_from(first).unwrap_or(0) }))
    }

    fn lines(&self, at: u64) -> io::Result<Vec<u8>> {
        let [number, begin] = self.layout.bytes;
        match self.memory.word(at.wrapping_add(number))? {
            len @ 0..=TABLE => self.memory.bytes(at.wrapping_add(begin), len as usize),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// A text, if one is there.
    fn text(&self, at: u64) -> io::Result<Option<String>> {
        if self.memory.word(at.wrapping_add(self.layout.kind))? != self.text_type {
            return Ok(None);
        }
        let [len, form, ascii, other] = self.layout.text;
        let len = self.memory.word(at.wrapping_add(len))?.min(NAME) as usize;
        let form = self.memory.word(at.wrapping_add(form))? as u32;
        let form = form >> self.layout.form_at;
        let (width, is_compact, is_ascii) = ((form & 7) as usize, form & 8 != 0, form & 16 != 0);
        if !is_compact || !matches!(width, 1 | 2 | 4) {
            return Ok(None);
        }
        let bytes = self.memory.bytes(at.wrapping_add(if is_ascii { ascii } else { other }), len * width)?;
        let letters = bytes.chunks_exact(width).map(|letter| {
            let value = letter.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
        });
        Ok(Some(letters.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_python_has_no_stacks() {
        let found = stacks(std::process::id());
        assert!(matches!(found, Err(Nothing::NotPython)), "{found:?}");
        assert!(matches!(stacks(u32::MAX), Err(Nothing::Unreadable(_))));
    }
}
