//! Answers: their bodies and how they are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::connections::InWork;

/// An answer's body.
#[derive(Default)]
pub(super) struct Reply {
    data: Bytes,
    /// What comes behind it, made when the client has taken what is before.
    more: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    /// Keeps the connection's request in work until the connection has taken the body over.
    pub in_work: Option<InWork>,
}

impl Reply {
    /// The length, where the whole is there.
    pub fn len(&self) -> Option<usize> {
        self.more.is_none().then_some(self.data.len())
    }

    /// The body of an answer to HEAD.
    pub fn clear(&mut self) {
        (self.data, self.more) = (Bytes::new(), None);
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.data.is_empty() {
            self.data = self.more.as_mut().and_then(Iterator::next).unwrap_or_default();
        }
        if self.data.is_empty() {
            self.more = None;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.len() {
            Some(length) => SizeHint::with_exact(length as u64),
            None => SizeHint::default(),
        }
    }
}

/// An answer with a body of the given type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Reply> {
    let mut response = Response::new(Reply { data: body.into(), more: None, in_work: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer in pieces, none of them empty. One that is a single piece is as any other answer.
pub(super) fn streamed(status: StatusCode, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Reply> {
    let mut pieces = pieces.fuse();
    let data = pieces.next().unwrap_or_default();
    let more = pieces.next().map(|second| Box::new(std::iter::once(second).chain(pieces)) as Box<_>);
    let mut response = Response::new(Reply { data, more, in_work: None });
    *response.status_mut() = status;
    response
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Reply> {
    reply(status, "text/plain; charset=utf-8", body)
}
