//! Reports of a campaign: what became of its certificates, for people and for other programs.
//!
//! | file | what it has |
//! | --- | --- |
//! | `page` | one self-contained HTML page |
//! | `live` | the same page while the daemon runs |
//! | `sections` | its sections |
//! | `chart` | its charts, as SVG |
//! | `csv`, `json` | a record for each certificate |
//! | `reading` | reads a queue into them |
//! | `summary` | what all of them together show |
//! | `outcome` | what one certificate shows, and what to do about it |

mod chart;
mod csv;
mod json;
mod live;
mod outcome;
mod page;
mod reading;
mod sections;
mod summary;

pub use csv::CsvReport;
pub use json::to_json_line;
pub use live::{DaemonNow, LivePage, ROWS_ON_LIVE_PAGE, Trouble, live_policy};
pub use outcome::{Outcome, Sent};
pub use page::{Page, ROWS_ON_PAGE};
pub use reading::read;
pub use sections::grouped;
pub use summary::{Failure, Summary};
