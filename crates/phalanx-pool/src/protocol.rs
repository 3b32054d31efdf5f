//! What the numbers on the board mean to the two sides.

/// What a record of a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The worker is initialised and begins to claim.
    Ready = 1,
    /// An item returned; the bytes are its result.
    Returned = 2,
    /// An item raised; the bytes are the exception and its traceback.
    Raised = 3,
    /// An item raised `SystemExit`; the bytes are its text.
    Exited = 4,
    /// An item was interrupted (`KeyboardInterrupt`); the worker ends.
    Interrupted = 5,
    /// The worker cannot make the function of the dispatch from its bytes, which name it; the bytes are the exception.
    FunctionUnknown = 6,
    /// The worker cannot make the item from its bytes; the bytes are the exception.
    ItemUnknown = 7,
    /// The initializer raised; the bytes are the exception. The worker ends.
    InitializerRaised = 8,
}

impl Kind {
    /// The kind with this number.
    ///
    /// ```
    /// use phalanx_pool::protocol::Kind;
    ///
    /// assert_eq!(Kind::of(Kind::Raised as u32), Some(Kind::Raised));
    /// assert_eq!(Kind::of(1000), None);
    /// ```
    pub fn of(number: u32) -> Option<Kind> {
        Some(match number {
            1 => Kind::Ready,
            2 => Kind::Returned,
            3 => Kind::Raised,
            4 => Kind::Exited,
            5 => Kind::Interrupted,
            6 => Kind::FunctionUnknown,
            7 => Kind::ItemUnknown,
            8 => Kind::InitializerRaised,
            _ => return None,
        })
    }
}

/// Flags of a dispatch.
pub mod flags {
    /// Each item is a sequence of arguments.
    pub const STAR: u32 = 1;
    /// Each item is a pair of arguments and keyword arguments.
    pub const CALL: u32 = 2;
    /// The supervisor wants to hear of the end of this dispatch at once.
    pub const RING: u32 = 4;
    /// The function is pickled by value: there is nothing better to ask for.
    pub const FUNCTION_BY_VALUE: u32 = 8;
    /// The items are pickled by value.
    pub const ITEMS_BY_VALUE: u32 = 16;
    /// An item whose worker is lost may be tried again.
    pub const RETRIED: u32 = 32;
    /// The function is of use for few jobs, and holds memory.
    pub const PASSING: u32 = 64;
}

/// Reads the items of a payload: each is its length in four bytes, then its bytes.
///
/// What is cut off ends the payload.
///
/// ```
/// use phalanx_pool::protocol::{ItemReader, write_item};
///
/// let mut payload = Vec::new();
/// write_item(&mut payload, b"first");
/// write_item(&mut payload, b"");
/// assert_eq!(ItemReader::new(&payload).collect::<Vec<_>>(), [&b"first"[..], b""]);
/// assert_eq!(ItemReader::new(&payload[..3]).count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct ItemReader<'a>(&'a [u8]);

impl<'a> ItemReader<'a> {
    /// The items in `bytes`.
    pub fn new(bytes: &'a [u8]) -> ItemReader<'a> {
        ItemReader(bytes)
    }
}

impl<'a> Iterator for ItemReader<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (item, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(item)
    }
}

/// Appends an item as [`ItemReader`] reads it.
#[inline]
pub fn write_item(out: &mut Vec<u8>, item: &[u8]) {
    // No item is 4 GiB long: the codec moves what is large into blocks.
    out.extend_from_slice(&(item.len() as u32).to_le_bytes());
    out.extend_from_slice(item);
}
