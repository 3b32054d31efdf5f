//! What controller and gateway have in common: an encrypted stream ([`tls`]), and messages and blocks over it ([`link`]).

pub(crate) mod link;
pub(crate) mod stream;
pub mod tls;
