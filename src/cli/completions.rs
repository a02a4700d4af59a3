//! `certcommit completions`.

use std::io::Write as _;

use clap::Command;
use clap_complete::Shell;

use super::exit::{Code, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell to generate completions for.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, mut program: Command) -> Result<Code, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Code::Done)
}
