//! certcommit commits Tencent Cloud SSL certificate orders in bulk.
//!
//! A daemon reads pending certificate IDs from a SQLite queue, submits each to `CommitCertificateInformation` within the rate
//! limit as the server counts it, and writes `OrderId`, `Status` and `RequestId` back. A commit places an order at a
//! certificate authority, and the API has no idempotency key; so a request whose outcome is unknown is read back, never
//! blindly repeated.
//!
//! Modules by layer. A module imports from lower layers only, and no files import each other in a circle
//! (`tests/behavior/layers.rs`):
//!
//! | layer | module | owns |
//! | --- | --- | --- |
//! | 7 | [`cli`] | arguments, terminal output, exit codes |
//! | 6 | [`daemon`] | the event loop and its components: claim, pace, send, record, read back |
//! | 5 | [`report`] | what became of a campaign, as CSV, JSON lines or an HTML page |
//! | 4 | [`queue`] | all SQL |
//! | 4 | [`tencent`] | signing, wire format, the error table, the HTTP client, credentials |
//! | 4 | [`pacing`] | the limiter |
//! | 3 | [`config`] | settings, from a file and the environment to typed values |
//! | 2 | [`submission`] | the domain: identifiers, states, outcomes, and the whole state machine |
//! | 1 | [`cause`] | why the queue is paused, or a submission waits, failed or is held: code, parameters, sentence, remedy |
//! | 1 | [`logging`] | log formats, and the catalog of log events and fields |
//! | 1 | [`metrics`] | the metrics that Prometheus reads |
//! | 0 | [`clock`] | the only place that reads the time |
//! | 0 | [`escaping`] | untrusted text, made safe to show |
//! | 0 | [`named_enum`] | enums whose variants have fixed names |
//! | beside | [`simulator`] | a stand-in for the API, for `demo` and the tests |

pub mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod escaping;
pub mod logging;
pub mod metrics;
pub mod named_enum;
pub mod pacing;
pub mod queue;
pub mod report;
pub mod simulator;
pub mod submission;
pub mod tencent;
