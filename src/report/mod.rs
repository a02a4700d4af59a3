//! Reports of a campaign: what became of its certificates, for people and for other programs.
//!
//! | file | what it has |
//! | --- | --- |
//! | `page` | one self-contained HTML page |
//! | `chart` | its charts, as SVG |
//! | `csv`, `json` | a record for each certificate |
//! | `summary` | what all of them together show |
//! | `outcome` | what one certificate shows, and what to do about it |

mod chart;
mod csv;
mod json;
mod outcome;
mod page;
mod summary;

pub use csv::CsvReport;
pub use json::to_json_line;
pub use outcome::{Outcome, Sent};
pub use page::{Page, ROWS_ON_PAGE};
pub use summary::{Failure, Summary};
