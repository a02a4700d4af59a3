//! A request body that reports when the request departs. hyper asks for the body as it writes the request's head, which it
//! does on an established connection, after TCP and TLS have been set up.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::clock;

/// Called once, when a request departs.
pub(super) type OnDeparture = Box<dyn FnOnce(Instant) + Send + Sync>;

/// When a request departed; empty until then.
pub(super) type Departed = Arc<OnceLock<Instant>>;

/// A request body that reports its departure.
pub(super) struct WatchedBody {
    rest: Option<Bytes>,
    departed: Departed,
    on_departure: Option<OnDeparture>,
}

impl WatchedBody {
    pub(super) fn new(body: impl Into<Bytes>, on_departure: OnDeparture) -> (Self, Departed) {
        let departed = Departed::default();
        let body = Self { rest: Some(body.into()), departed: Arc::clone(&departed), on_departure: Some(on_departure) };
        (body, departed)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(report) = self.on_departure.take() {
            report(*self.departed.get_or_init(|| clock::now().instant));
        }
        Poll::Ready(self.rest.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.rest.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for WatchedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody").field("departed", &self.departed).finish_non_exhaustive()
    }
}
