//! `certcommit run`.

use std::io::IsTerminal as _;
use std::panic::resume_unwind;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::{Code, Failure};
use super::progress_bar::Meter;
use crate::config::{ConfigError, Settings};
use crate::daemon::{self, Ended, Progress, Reloading, Stop, Until};
use crate::logging::{self, LogLevel};
use crate::submission::State;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End when nothing is left to do; with a progress bar on a terminal.
    #[arg(long)]
    until_empty: bool,
}

/// `load` reads the settings, as often as it is called.
pub(super) async fn run(
    arguments: Arguments,
    mut load: impl FnMut() -> Result<Settings, ConfigError> + Send + 'static,
) -> Result<Code, Failure> {
    let settings = load()?;
    let metered = arguments.until_empty && std::io::stderr().is_terminal();
    // The bar and the log share the terminal: with a bar, only what needs attention is logged.
    let level = if metered { LogLevel::Warn } else { settings.log.level };
    let level = logging::init(level, settings.log.format)?;
    let until = if arguments.until_empty { Until::Empty } else { Until::Stopped };
    let source = super::credentials::source(&settings);
    let (stop, stop_asked) = watch::channel(Stop::No);
    let (progress, watched) = watch::channel(Progress::default());
    let (reload, asked) = watch::channel(());
    // A run until empty ends with its terminal; a daemon has none, and reloads.
    let reload = (until == Until::Stopped).then_some(reload);
    // From here on: a start that is told to stop comes to its end, and the run after it stops at once.
    let signals = tokio::spawn(obey_signals(stop, reload)?);
    let read = Box::new(move || load().map(|settings| (settings.clone(), super::credentials::source(&settings))));
    let daemon = daemon::start(settings, source).await?.reloading(Reloading { asked, read, level });
    let meter = metered.then(|| tokio::spawn(Meter::new().follow(watched)));
    // As a task: what wakes it from within the runtime costs no system call then.
    let ended = tokio::spawn(daemon.run(until, stop_asked, progress)).await;
    let ended = ended.unwrap_or_else(|error| resume_unwind(error.into_panic()));
    signals.abort();
    if let Some(meter) = meter {
        // It ends with its progress; an error would mean that it panicked, which loses nothing.
        meter.await.unwrap_or_default();
    }
    let ended = ended?;
    Ok(match until {
        Until::Stopped => Code::Done,
        Until::Empty => verdict(&ended),
    })
}

/// What a run until empty amounts to.
fn verdict(ended: &Ended) -> Code {
    let unhappy = ended.counts.of(State::Failed) + ended.counts.of(State::Held);
    match &ended.refused {
        Some(_) => Code::Unavailable,
        None if unhappy > 0 || ended.blocked => Code::PartlyDone,
        None => Code::Done,
    }
}

/// The first SIGTERM or SIGINT asks to stop, the second to stop at once. SIGHUP asks to reload; where nothing can be
/// reloaded, to stop.
fn obey_signals(
    stop: watch::Sender<Stop>,
    reload: Option<watch::Sender<()>>,
) -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let mut asked = Stop::Soon;
        loop {
            let hung_up = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = hangup.recv() => true,
            };
            match &reload {
                Some(reload) if hung_up => reload.send_replace(()),
                Some(_) | None => {
                    stop.send_replace(asked);
                    asked = Stop::Now;
                }
            }
        }
    })
}
