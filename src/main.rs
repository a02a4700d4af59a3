//! The `certcommit` program. See `certcommit --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(certcommit::cli::main())
}
