//! The commands: arguments, terminal output and exit codes; a file a command, and no logic.

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
mod pause;
mod progress_bar;
mod resolve;
mod retry;
mod run;
mod status;
mod terminal;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Settings;
use crate::queue::{Opening, Queue, Shifted, UntrustedText};
use crate::submission::State;
pub use exit::{Code, Failure};

/// Commits Tencent Cloud SSL certificate orders in bulk, from a SQLite queue, within the rate limit.
#[derive(Debug, Parser)]
#[command(name = "certcommit", version, about, after_help = exit::help())]
struct Arguments {
    /// The configuration file [default: /etc/certcommit/certcommit.toml, if it is there].
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
    /// Show every request that was made for a certificate.
    History(history::Arguments),
    /// Try failed submissions once more.
    Retry(retry::Arguments),
    /// Take pending submissions out.
    Cancel(cancel::Arguments),
    /// Decide on a submission that is held or in doubt.
    Resolve(resolve::Arguments),
    /// Read submissions back before anything is sent for them.
    Verify(verify::Arguments),
    /// Pause the queue: no commits go out.
    Pause(pause::PauseArguments),
    /// End a pause of either kind, and probe at once.
    Resume,
    /// Write a checked copy of the queue to a new file, while the daemon runs.
    Backup(backup::Arguments),
    /// Check configuration, database, credentials and clock.
    Check(check::Arguments),
    /// Print the completions for a shell.
    Completions(completions::Arguments),
    /// Print the man page: certcommit manual | man -l -
    Manual,
    /// Show the whole thing against a simulator of the API, in a temporary database.
    Demo(demo::Arguments),
}

/// Runs the program; the exit code.
#[must_use]
pub fn main() -> u8 {
    // Before there is anything to hide.
    if let Err(error) = core_dumps::forbid() {
        let failure = Failure::new(Code::Io, format!("core dumps can't be switched off: {error}"));
        terminal::tell(&failure);
        return failure.code.number();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return terminal::tell_usage(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments)),
        Err(error) => Err(Failure::from(error)),
    };
    match outcome {
        Ok(code) => code.number(),
        Err(failure) => {
            terminal::tell(&failure);
            failure.code.number()
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<Code, Failure> {
    let settings = move || Settings::load(arguments.config.as_deref(), environment());
    match arguments.command {
        Command::Run(arguments) => run::run(arguments, settings).await,
        Command::Enqueue(arguments) => enqueue::run(arguments, &settings()?).await,
        Command::Status(arguments) => status::run(arguments, &settings()?).await,
        Command::History(arguments) => history::run(arguments, &settings()?).await,
        Command::Retry(arguments) => retry::run(arguments, &settings()?).await,
        Command::Cancel(arguments) => cancel::run(arguments, &settings()?).await,
        Command::Resolve(arguments) => resolve::run(arguments, &settings()?).await,
        Command::Verify(arguments) => verify::run(arguments, &settings()?).await,
        Command::Pause(arguments) => pause::pause(arguments, &settings()?).await,
        Command::Resume => pause::resume(&settings()?).await,
        Command::Backup(arguments) => backup::run(arguments, &settings()?).await,
        Command::Check(arguments) => check::run(arguments, &settings()?).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Manual => manual::run(),
        // The demo brings its own settings.
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}

/// The environment's variables, but for those that are not text, and so can't be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Opens the queue for a command that needs it to be there.
async fn open_queue(settings: &Settings) -> Result<Queue, Failure> {
    Ok(Queue::open(&settings.database, Opening::Existing).await?)
}

/// Opens the queue for a command that only looks at it.
async fn look_at_queue(settings: &Settings) -> Result<Queue, Failure> {
    Ok(Queue::open(&settings.database, Opening::Looking).await?)
}

/// Reports what a change to this state did: which submissions were not moved, and why. What is in this state already is as
/// it was asked for.
async fn report_moved(queue: &mut Queue, shifted: &Shifted, to: State, what: &str) -> Result<Code, Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {what}", shifted.moved)?;
    let mut code = Code::Done;
    for id in &shifted.unmoved {
        match queue.submission(id).await?.map(|line| line.state) {
            Some(state) if state.as_str() == to.as_str() => writeln!(out, "{id}: {state} already")?,
            other => {
                writeln!(out, "{id}: {}", other.as_ref().map_or("not in the queue", UntrustedText::as_str))?;
                code = Code::PartlyDone;
            }
        }
    }
    Ok(code)
}
