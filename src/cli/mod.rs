//! The commands, one file each: arguments, terminal output and exit codes, but no other logic.

mod backup;
mod cancel;
mod chart;
mod check;
mod completions;
mod core_dumps;
mod credentials;
mod demo;
mod enqueue;
mod exit;
mod history;
mod manual;
mod moving;
mod pause;
mod progress_bar;
mod report;
mod resolve;
mod retry;
mod run;
mod status;
mod terminal;
mod verify;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Settings;
pub use exit::{Code, Failure};

/// Commit Tencent Cloud SSL certificate orders in bulk, from a SQLite queue, within the rate limit.
#[derive(Debug, Parser)]
#[command(name = "certcommit", version, about, after_help = exit::help())]
struct Arguments {
    /// Configuration file [default: /etc/certcommit/certcommit.toml, if it exists].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::Arguments),
    /// Enqueue certificates.
    Enqueue(enqueue::Arguments),
    /// Show the queue at a glance.
    Status(status::Arguments),
    /// Show every request made for a certificate.
    History(history::Arguments),
    /// Report what became of the certificates: as a table, CSV, JSON lines, or one HTML page.
    Report(report::Arguments),
    /// Try failed submissions again.
    Retry(retry::Arguments),
    /// Cancel pending submissions.
    Cancel(cancel::Arguments),
    /// Resolve a submission that is held or in doubt.
    Resolve(resolve::Arguments),
    /// Read submissions back before anything is sent for them.
    Verify(verify::Arguments),
    /// Pause the queue: no commits are sent.
    Pause(pause::PauseArguments),
    /// End any pause, probe at once, and report what the probe finds.
    Resume,
    /// Write a checked copy of the queue to a new file, while the daemon runs.
    Backup(backup::Arguments),
    /// Check configuration, database, credentials and clock.
    Check(check::Arguments),
    /// Print the completion script for a shell.
    Completions(completions::Arguments),
    /// Print the man page: certcommit manual | man -l -
    Manual,
    /// Run everything against a simulator of the API, in a temporary database.
    Demo(demo::Arguments),
}

/// Runs the program. Returns the exit code.
#[must_use]
pub fn main() -> u8 {
    // Before any secret is in memory.
    if let Err(error) = core_dumps::disable() {
        return failed(&Failure::new(Code::Io, format!("can't disable core dumps: {error}")));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return terminal::print_usage(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(dispatch(arguments))) {
        Ok(code) => code.number(),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> u8 {
    terminal::print_failure(failure);
    failure.code.number()
}

async fn dispatch(arguments: Arguments) -> Result<Code, Failure> {
    let settings = move || Settings::load(arguments.config.as_deref(), environment());
    match arguments.command {
        Command::Run(arguments) => run::run(arguments, settings).await,
        Command::Enqueue(arguments) => enqueue::run(arguments, &settings()?).await,
        Command::Status(arguments) => status::run(arguments, &settings()?).await,
        Command::History(arguments) => history::run(arguments, &settings()?).await,
        Command::Report(arguments) => report::run(arguments, &settings()?).await,
        Command::Retry(arguments) => retry::run(arguments, &settings()?).await,
        Command::Cancel(arguments) => cancel::run(arguments, &settings()?).await,
        Command::Resolve(arguments) => resolve::run(arguments, &settings()?).await,
        Command::Verify(arguments) => verify::run(arguments, &settings()?).await,
        Command::Pause(arguments) => pause::pause(arguments, &settings()?).await,
        Command::Resume => pause::resume(&settings()?).await,
        Command::Backup(arguments) => backup::run(arguments, &settings()?).await,
        Command::Check(arguments) => check::run(arguments, &settings()?).await,
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Manual => manual::run(Arguments::command()),
        // The demo has its own settings.
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}

/// The environment variables. Those that aren't valid UTF-8 can't be settings.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
