//! `certcommit run`.

use std::future::{Future, pending};
use std::io::IsTerminal as _;
use std::panic::resume_unwind;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::credentials;
use super::exit::{Code, Failure};
use super::progress_bar::Bar;
use crate::config::{ConfigError, Settings};
use crate::daemon::{self, CredentialSource, Daemon, Ended, Progress, Reloading, Stop, Until};
use crate::logging::{self, LogEvent, LogFormat, LogLevel};
use crate::queue::RuntimeDirectories;
use crate::submission::State;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Stop when nothing is left to do. Shows a progress bar on a terminal.
    #[arg(long)]
    until_empty: bool,
}

/// `load` reads the settings again on each call.
pub(super) async fn run(
    arguments: Arguments,
    mut load: impl FnMut() -> Result<Settings, ConfigError> + Send + 'static,
) -> Result<Code, Failure> {
    let settings = load().map_err(|error| {
        // Without a configuration, the log has its usual format. If it can't be set up, the failure is printed.
        let (failure, log) = (Failure::from(error), logging::init(LogLevel::Info, LogFormat::Auto));
        if log.is_ok() { logged(failure) } else { failure }
    })?;
    let has_bar = arguments.until_empty && std::io::stderr().is_terminal();
    // The bar and the log share the terminal, so with a bar, only warnings are logged.
    let level = if has_bar { LogLevel::Warn } else { settings.log.level };
    let level = logging::init(level, settings.log.format)?;
    let source = credentials::source(&settings);
    if arguments.until_empty {
        let daemon = Foreground::start(settings, source, None).await?;
        let ended = daemon.run(Until::Empty, has_bar, pending()).await?;
        return Ok(verdict(&ended));
    }
    let (reload, asked) = watch::channel(());
    let read = Box::new(move || load().map(|settings| (settings.clone(), credentials::source(&settings))));
    let reloading = (reload, Reloading { asked, read, level });
    Foreground::start(settings, source, Some(reloading)).await?.run(Until::Stopped, has_bar, pending()).await?;
    Ok(Code::Done)
}

/// A daemon in this process that obeys signals. SIGHUP reloads it if it can reload, and stops it otherwise.
pub(super) struct Foreground {
    daemon: Daemon,
    stop: watch::Sender<Stop>,
    stop_requested: watch::Receiver<Stop>,
    signals: JoinHandle<()>,
}

impl Foreground {
    /// Starts it, and logs why if it can't start.
    pub(super) async fn start(
        settings: Settings,
        source: CredentialSource,
        reloading: Option<(watch::Sender<()>, Reloading)>,
    ) -> Result<Self, Failure> {
        let (stop, stop_requested) = watch::channel(Stop::No);
        let (reload, reloading) = reloading.unzip();
        // Installed before the start. A signal during the start lets the start finish, and then stops the run at once.
        let signals = tokio::spawn(obey_signals(stop.clone(), reload)?);
        let runtime = RuntimeDirectories::of_process(|name| std::env::var_os(name));
        let mut daemon = daemon::start(settings, source, &runtime).await.map_err(|error| logged(error.into()))?;
        if let Some(reloading) = reloading {
            daemon = daemon.reloading(reloading);
        }
        Ok(Self { daemon, stop, stop_requested, signals })
    }

    /// Where a browser shows the queue, if it does.
    pub(super) fn page_address(&self) -> Option<String> {
        self.daemon.page_address()
    }

    /// Runs it, at most until `done`.
    pub(super) async fn run(
        self,
        until: Until,
        has_bar: bool,
        done: impl Future<Output = ()>,
    ) -> Result<Ended, Failure> {
        let Self { daemon, stop, stop_requested, signals } = self;
        let (progress, watched) = watch::channel(Progress::default());
        let bar = has_bar.then(|| tokio::spawn(Bar::new().follow(watched)));
        // A spawned task is woken from within the runtime without a system call.
        let mut running = tokio::spawn(daemon.run(until, stop_requested, progress));
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = done => {
                stop.send_replace(Stop::Soon);
                running.await
            }
        };
        let ended = ended.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        signals.abort();
        if let Some(bar) = bar {
            // The bar ends with the daemon. If it panicked, nothing is lost.
            bar.await.unwrap_or_default();
        }
        // The daemon has logged why.
        ended.map_err(|error| Failure::quiet(Failure::from(error).code))
    }
}

/// Logs why the daemon didn't start, in the log's own format; it isn't printed again.
fn logged(failure: Failure) -> Failure {
    tracing::error!(
        event = LogEvent::StartFailed.as_str(),
        exit_code = failure.code.number(),
        "this start failed, and changed nothing: {failure}"
    );
    Failure::quiet(failure.code)
}

/// The exit code of `run --until-empty`.
fn verdict(ended: &Ended) -> Code {
    let unsuccessful = ended.counts.of(State::Failed) + ended.counts.of(State::Held);
    match &ended.refused {
        Some(_) => Code::Unavailable,
        None if unsuccessful > 0 || ended.is_blocked => Code::PartlyDone,
        None => Code::Done,
    }
}

/// The first SIGTERM or SIGINT stops the daemon gracefully, the second at once. SIGHUP reloads it, or stops it if it can't
/// reload.
fn obey_signals(
    stop: watch::Sender<Stop>,
    reload: Option<watch::Sender<()>>,
) -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let mut next = Stop::Soon;
        loop {
            let is_hangup = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = hangup.recv() => true,
            };
            match &reload {
                Some(reload) if is_hangup => reload.send_replace(()),
                Some(_) | None => {
                    stop.send_replace(next);
                    next = Stop::Now;
                }
            }
        }
    })
}
