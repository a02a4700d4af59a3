//! `certcommit completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Arguments as Program;
use super::exit::{Code, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell that is to complete.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Code, Failure> {
    let mut program = Program::command();
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Code::Done)
}
