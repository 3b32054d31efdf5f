//! What controller and gateway have in common: an encrypted stream (`stream`, [`tls`]), messages and blocks over it
//! (`link`), and the tasks that read and write it (`line`).

pub(crate) mod line;
pub(crate) mod link;
pub(crate) mod stream;
pub mod tls;
