//! Answers: their bodies and how they are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::connections::InWork;

/// A whole answer's body.
#[derive(Default, Debug)]
pub(super) struct Reply {
    data: Bytes,
    /// Keeps the connection's request in work until the connection has taken the body over.
    pub in_work: Option<InWork>,
}

impl Reply {
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// The body of an answer to HEAD.
    pub fn clear(&mut self) {
        self.data = Bytes::new();
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.data.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

/// An answer with a body of the given type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Reply> {
    let mut response = Response::new(Reply { data: body.into(), in_work: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Reply> {
    reply(status, "text/plain; charset=utf-8", body)
}
