//! Where things are in a Python interpreter's memory.
//!
//! From 3.13 on an interpreter says it itself, in a table at the beginning of its state that is made for this purpose; for the two
//! versions before it stands here. (Bug-fix releases of a version do not move anything: extensions built for one would
//! break.) A wrong place is noticed: what is read there has to be a code object or a text by its type.

use std::io;

use super::memory::Memory;

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) interpreters: u64,
    pub(super) next_interpreter: u64,
    pub(super) threads: u64,
    pub(super) next_thread: u64,
    pub(super) native_id: u64,
    /// From the state of a thread to its frame: where the pointer is, and where it is in what that points to, if it is not the
    /// frame.
    pub(super) frame: (u64, Option<u64>),
    pub(super) code: usize,
    pub(super) previous: usize,
    pub(super) instruction: usize,
    pub(super) owner: usize,
    pub(super) kind: u64,
    pub(super) file: usize,
    pub(super) name: usize,
    pub(super) lines: usize,
    pub(super) first_line: usize,
    pub(super) instructions: u64,
    /// Of a text: its length, its form, where its letters begin when they are ASCII and when they are not.
    pub(super) text: [u64; 4],
    /// At which bit of a text's form the width of its letters begins.
    pub(super) form_at: u32,
    /// Of bytes: their number, and where they are.
    pub(super) bytes: [u64; 2],
}

const V3_11: Layout = Layout {
    interpreters: 40,
    next_interpreter: 0,
    threads: 16,
    next_thread: 8,
    native_id: 160,
    frame: (56, Some(8)),
    code: 32,
    previous: 48,
    instruction: 56,
    owner: 69,
    kind: 8,
    file: 112,
    name: 128,
    lines: 136,
    first_line: 72,
    instructions: 184,
    text: [16, 32, 48, 72],
    form_at: 2,
    bytes: [16, 32],
};

const V3_12: Layout = Layout {
    threads: 72,
    native_id: 144,
    frame: (56, Some(0)),
    code: 0,
    previous: 8,
    owner: 70,
    first_line: 68,
    instructions: 192,
    text: [16, 32, 40, 56],
    ..V3_11
};

/// How the table of a version begins: the words of its parts, in their order, behind a mark, the version and whether there
/// are threads without a lock.
struct Table {
    runtime: usize,
    interpreter: usize,
    thread: usize,
    frame: usize,
    code: usize,
    object: usize,
    form_at: u32,
}

const TABLE_3_13: Table = Table { runtime: 3, interpreter: 6, thread: 19, frame: 28, code: 34, object: 44, form_at: 2 };
const TABLE_3_14: Table =
    Table { runtime: 3, interpreter: 6, thread: 22, frame: 31, code: 39, object: 50, form_at: 16 };
const WORDS: usize = 52;
const MARK: u64 = u64::from_ne_bytes(*b"xdebugpy");
/// Bytes of the largest part but for the interpreter's state, which no offset passes.
const FAR: u64 = 1 << 20;

/// The layout of the interpreter whose state begins at `runtime`, by its version as in `PY_VERSION_HEX`. `None` for a version that is
/// not known here.
pub(super) fn layout(memory: &Memory, runtime: u64, version: u64) -> io::Result<Option<Layout>> {
    let table = match version >> 16 {
        0x030b => return Ok(Some(V3_11)),
        0x030c => return Ok(Some(V3_12)),
        0x030d => TABLE_3_13,
        0x030e => TABLE_3_14,
        _ => return Ok(None),
    };
    let bytes = memory.bytes(runtime, WORDS * 8)?;
    let words: Vec<u64> = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).collect();
    Ok(by_table(&words, &table))
}

fn by_table(words: &[u64], table: &Table) -> Option<Layout> {
    // Each part begins with its size.
    let of = |part: usize, at: usize| (words[part + at] < words[part].min(FAR)).then_some(words[part + at]);
    let near = |part: usize, at: usize| of(part, at).and_then(|offset| usize::try_from(offset).ok());
    if words.first() != Some(&MARK) {
        return None;
    }
    let kind = of(table.object, 1)?;
    // Where threads run without a lock, objects begin with more, and everything in them is further on.
    let more = kind.checked_sub(8)?;
    Some(Layout {
        interpreters: of(table.runtime, 2)?,
        next_interpreter: of(table.interpreter, 2)?,
        threads: of(table.interpreter, 3)?,
        next_thread: of(table.thread, 2)?,
        native_id: of(table.thread, 6)?,
        frame: (of(table.thread, 4)?, None),
        code: near(table.frame, 2)?,
        previous: near(table.frame, 1)?,
        instruction: near(table.frame, 3)?,
        owner: near(table.frame, 5)?,
        kind,
        file: near(table.code, 1)?,
        name: near(table.code, 3)?,
        lines: near(table.code, 4)?,
        first_line: near(table.code, 5)?,
        instructions: of(table.code, 9)?,
        text: V3_12.text.map(|offset| offset + more),
        form_at: table.form_at,
        bytes: V3_12.bytes.map(|offset| offset + more),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that a 3.13.0 of a common build has.
    fn table() -> Vec<u64> {
        let mut words = vec![MARK, 0x030d_00f0, 0];
        words.extend([4096 * 80, 600, 632]);
        words.extend([400_000, 7272, 7264, 7344, 7400, 0, 0, 0, 0, 0, 0, 0, 0]);
        words.extend([300, 0, 8, 16, 72, 152, 160, 200, 32]);
        words.extend([88, 8, 0, 56, 72, 70]);
        words.extend([208, 112, 120, 128, 136, 68, 52, 96, 104, 200]);
        words.extend([16, 8]);
        words.resize(WORDS, 0);
        words
    }

    #[test]
    fn the_table_is_read() {
        let layout = by_table(&table(), &TABLE_3_13).unwrap();
        assert_eq!((layout.interpreters, layout.threads, layout.frame), (632, 7344, (72, None)));
        assert_eq!((layout.code, layout.previous, layout.instruction, layout.owner), (0, 8, 56, 70));
        assert_eq!((layout.name, layout.first_line, layout.instructions), (128, 68, 200));
        assert_eq!(layout.text, V3_12.text);
    }

    #[test]
    fn a_table_that_cannot_be_is_none() {
        let mut words = table();
        words[0] = 0;
        assert_eq!(by_table(&words, &TABLE_3_13), None);
        for at in [5, 9, 21, 23, 30, 45] {
            let mut words = table();
            words[at] = u64::MAX / 3;
            assert_eq!(by_table(&words, &TABLE_3_13), None, "{at}");
        }
    }
}
