//! Kinds of records in the rings; 0 is none.

/// A whole message.
pub(crate) const EAGER: u8 = 1;
/// A whole message whose sender (token) waits for MATCHED.
pub(crate) const EAGER_SYNC: u8 = 2;
/// A large message: payload is the offset of its block (0: none), token the sender's operation.
pub(crate) const OFFER: u8 = 3;
/// To a synchronous sender: matched.
pub(crate) const MATCHED: u8 = 4;
/// To the sender of a large message: over.
pub(crate) const DONE: u8 = 5;
/// To the sender of a large message: push `len` bytes of it into the pipe in the payload.
pub(crate) const PIPE: u8 = 6;
/// To the sender of a large message: send `len` bytes of it as DATA to the receive in the payload.
pub(crate) const STREAM: u8 = 7;
/// A piece of a large message for the receive in the token.
pub(crate) const DATA: u8 = 8;
