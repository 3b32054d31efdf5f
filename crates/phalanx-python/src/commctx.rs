//! Private duplicates of communicators for the package's own protocols.

/// Frees the duplicates that are still cached.
pub(crate) fn release() {}
