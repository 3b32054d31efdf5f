//! Where things are in a Python interpreter's memory: for who looks into a rank from outside, and for a rank that records where
//! its calls are made.
//!
//! From 3.13 on an interpreter says it itself, in a table at the beginning of its state that is made for this purpose; for the two
//! versions before it stands here. (Bug-fix releases of a version do not move anything: extensions built for one would
//! break.) A wrong place is noticed: what is read there has to be a code object or a text by its type.

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// From the runtime's state to its first interpreter.
    pub interpreters: u64,
    /// From an interpreter to the next one.
    pub next_interpreter: u64,
    /// From an interpreter to its first thread.
    pub threads: u64,
    /// From a thread to the next one.
    pub next_thread: u64,
    /// From a thread to its number in the kernel.
    pub native_id: u64,
    /// From the state of a thread to its frame: where the pointer is, and where it is in what that points to, if it is not the
    /// frame.
    pub frame: (u64, Option<u64>),
    /// From a frame to its code object.
    pub code: usize,
    /// From a frame to the one that called it.
    pub previous: usize,
    /// From a frame to where it is in its instructions.
    pub instruction: usize,
    /// From a frame to what owns it.
    pub owner: usize,
    /// From an object to its type.
    pub kind: u64,
    /// From a code object to the name of its file.
    pub file: usize,
    /// From a code object to its name.
    pub name: usize,
    /// From a code object to its table of lines.
    pub lines: usize,
    /// From a code object to its first line.
    pub first_line: usize,
    /// From a code object to its instructions.
    pub instructions: u64,
    /// Of a text: its length, its form, where its letters begin when they are ASCII and when they are not.
    pub text: [u64; 4],
    /// At which bit of a text's form the width of its letters begins.
    pub form_at: u32,
    /// Of bytes: their number, and where they are.
    pub bytes: [u64; 2],
    /// A thread may run a copy of its own of a code object's instructions (3.14 without the lock): where it is in them tells no line.
    pub copies: bool,
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
    copies: false,
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
    /// Whether threads without a lock have copies of instructions.
    copies: bool,
}

const TABLE_3_13: Table =
    Table { runtime: 3, interpreter: 6, thread: 19, frame: 28, code: 34, object: 44, form_at: 2, copies: false };
const TABLE_3_14: Table =
    Table { runtime: 3, interpreter: 6, thread: 22, frame: 31, code: 39, object: 50, form_at: 16, copies: true };
/// The word that says whether there are threads without a lock.
const LOCKLESS: usize = 2;
/// Words of the table that are looked at.
pub const WORDS: usize = 52;
const MARK: u64 = u64::from_ne_bytes(*b"xdebugpy");
/// Bytes of the largest part but for the interpreter's state, which no offset passes.
const FAR: u64 = 1 << 20;

/// Owners of frames from here on are no functions: they stand where the interpreter was entered.
pub const ENTRIES: u8 = 3;

/// The layout of an interpreter by its version, as in `PY_VERSION_HEX`, and by what `table` gives: the first [`WORDS`] words of the
/// runtime's state. `None` for a version that is not known here.
///
/// # Errors
/// What `table` gives.
pub fn layout<E>(version: u64, table: impl FnOnce() -> Result<Vec<u64>, E>) -> Result<Option<Layout>, E> {
    let parts = match version >> 16 {
        0x030b => return Ok(Some(V3_11)),
        0x030c => return Ok(Some(V3_12)),
        0x030d => TABLE_3_13,
        0x030e => TABLE_3_14,
        _ => return Ok(None),
    };
    Ok(by_table(&table()?, &parts))
}

fn by_table(words: &[u64], table: &Table) -> Option<Layout> {
    // Each part begins with its size.
    let of = |part: usize, at: usize| (words[part + at] < words[part].min(FAR)).then_some(words[part + at]);
    let near = |part: usize, at: usize| of(part, at).and_then(|offset| usize::try_from(offset).ok());
    if words.len() < WORDS || words.first() != Some(&MARK) {
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
        copies: words[LOCKLESS] != 0 && table.copies,
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
    fn a_line_is_not_told_by_a_copy_of_instructions() {
        let mut words = table();
        words[LOCKLESS] = 1;
        // Each object begins with 16 bytes more.
        words[TABLE_3_13.object..][..2].copy_from_slice(&[32, 24]);
        let layout = by_table(&words, &TABLE_3_13).unwrap();
        assert_eq!((layout.text[0], layout.copies), (V3_12.text[0] + 16, false));
        assert!(by_table(&words, &Table { copies: true, ..TABLE_3_13 }).unwrap().copies);
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
