//! Generated files: `cargo xtask gen` writes them, `cargo xtask gen --check` compares.
fn main() {}
