//! Shows the value of a key in the form of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;

use super::names::{ActionName, Days, Language, PageAudience, SourceName, UnsafeFilesystem};
use super::proxy::ProxySetting;
use crate::logging::{LogFormat, LogLevel};

pub(super) trait Show {
    fn shown(&self) -> String;
}

macro_rules! show_as_displayed {
    ($($type:ty)*) => { $(impl Show for $type { fn shown(&self) -> String { self.to_string() } })* };
}

show_as_displayed! { String u32 usize SocketAddr ProxySetting UnsafeFilesystem ActionName Language PageAudience SourceName LogLevel LogFormat }

impl Show for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl Show for Duration {
    fn shown(&self) -> String {
        SignedDuration::try_from(*self).map_or_else(|_| format!("{self:?}"), |duration| format!("{duration:#}"))
    }
}

/// An optional value that is missing is shown as an empty text.
macro_rules! show_or_empty {
    ($($type:ty)*) => { $(impl Show for Option<$type> {
        fn shown(&self) -> String { self.as_ref().map(Show::shown).unwrap_or_default() }
    })* };
}

show_or_empty! { PathBuf String SocketAddr }

impl Show for Days {
    fn shown(&self) -> String {
        format!("{}d", self.0)
    }
}

/// An optional value that is missing is shown as `off`.
macro_rules! show_or_off {
    ($($type:ty)*) => { $(impl Show for Option<$type> {
        fn shown(&self) -> String { self.as_ref().map_or_else(|| "off".to_owned(), Show::shown) }
    })* };
}

show_or_off! { Duration Days }
