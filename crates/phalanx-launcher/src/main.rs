//! The `phalanx` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    phalanx_launcher::main()
}
