//! certcommit commits Tencent Cloud SSL certificate orders in bulk.
//!
//! A daemon reads pending certificate IDs from a SQLite queue, submits each to
//! `CommitCertificateInformation` within a rate limit that the server never sees exceeded, and writes
//! `OrderId`, `Status` and `RequestId` back. A commit places an order at a certificate authority and
//! has no idempotency key; so a request whose outcome isn't known is read back, never blindly repeated.
//!
//! Modules by layer; imports run downwards only (a test holds them to it):
//!
//! | layer | module | owns |
//! | --- | --- | --- |
//! | 5 | [`cli`] | arguments, terminal output, exit codes |
//! | 4 | [`daemon`] | the one loop: claim, pace, send, record, verify |
//! | 3 | [`queue`] | all SQL |
//! | 3 | [`tencent`] | signing, wire format, the error table, the HTTP client, credentials |
//! | 3 | [`pacing`] | the limiter |
//! | 2 | [`config`], [`logging`], [`metrics`] | settings; log formats and the catalogue of events; metrics |
//! | 1 | [`submission`] | the domain: identifiers, states, outcomes, and the whole state machine |
//! | 0 | [`clock`] | the only place that reads the time |
//! | 0 | [`named_enum`] | enums whose variants have names |
//! | side | [`simulator`] | a stand-in for the API, for `demo` and the tests |

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod logging;
pub mod metrics;
pub mod named_enum;
pub mod pacing;
pub mod queue;
pub mod simulator;
pub mod submission;
pub mod tencent;
