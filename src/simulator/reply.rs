//! Replies: their JSON, and how they are delivered, or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>";

/// What the client gets.
#[derive(Debug)]
pub(super) enum Delivery {
    /// HTTP 200 with this body.
    Whole(Vec<u8>),
    /// HTTP 200 that announces this body, half of the body, and the end of the connection.
    Half(Vec<u8>),
    /// HTTP 502 with an HTML page.
    Html,
    /// HTTP 307 to this address.
    Redirect(String),
    /// The end of the connection.
    Cut,
    /// Nothing, as long as the client waits.
    Hang,
}

impl Delivery {
    /// This response, intact.
    pub(super) fn json(response: Value, request_id: &str) -> Self {
        Self::Whole(whole(response, request_id))
    }

    /// The HTTP response, or how there is none.
    pub(super) fn into_response(self) -> Result<Response, Silence> {
        match self {
            Self::Whole(body) => Ok((JSON, body).into_response()),
            Self::Half(body) => Ok((JSON, Body::new(Half::of(&body))).into_response()),
            Self::Html => Ok((StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response()),
            Self::Redirect(to) => Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()),
            Self::Cut => Err(Silence::Cut),
            Self::Hang => Err(Silence::Hang),
        }
    }
}

/// How a request gets no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    Cut,
    Hang,
}

/// `{"Error":…}` with this code.
pub(super) fn error(code: &str) -> Value {
    json!({ "Error": { "Code": code, "Message": "simulated error" } })
}

/// Sets a field of a response.
pub(super) fn set(response: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = response.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// The body: the response with its request's ID, in its envelope.
pub(super) fn whole(mut response: Value, request_id: &str) -> Vec<u8> {
    set(&mut response, "RequestId", request_id);
    json!({ "Response": response }).to_string().into_bytes()
}

/// A body that breaks off in the middle.
struct Half {
    announced: u64,
    half: Option<Bytes>,
    flushed: bool,
}

impl Half {
    fn of(body: &[u8]) -> Self {
        let (half, _) = body.split_at(body.len() / 2);
        let announced = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self { announced, half: Some(Bytes::copy_from_slice(half)), flushed: false }
    }
}

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.flushed {
            // hyper flushes when the body is pending.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
