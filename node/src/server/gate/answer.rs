//! The body of an answer. It ends when its call may not continue, and its bytes count as used until
//! they have left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::call::{Call, GRACE, Phase};
use super::methods::Shape;

/// The body of an answer.
pub struct AnswerBody {
    inner: tonic::body::Body,
    /// `None` if the call was refused.
    call: Option<Arc<Call>>,
    /// For a stream: wakes it when its caller may have lost its rights.
    changes: Option<WatchStream<Phase>>,
    ending: Option<Ending>,
}

/// Why and when an answer ends, unless it ends by itself before.
struct Ending {
    status: Status,
    at: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    /// Around the answer to `call`, which was judged in this `phase` of its connection.
    pub fn answer(
        answer: Response<tonic::body::Body>,
        call: Arc<Call>,
        phase: watch::Receiver<Phase>,
    ) -> Response<Self> {
        let streams = call.method.shape != Shape::Unary;
        let changes = streams.then(|| WatchStream::from_changes(phase));
        answer.map(|inner| Self { inner, call: Some(call), changes, ending: None })
    }

    /// Nothing but a status.
    pub fn refusal(status: Status) -> Response<Self> {
        let (head, ()) = status.into_http::<()>().into_parts();
        let inner = tonic::body::Body::empty();
        Response::from_parts(head, Self { inner, call: None, changes: None, ending: None })
    }

    /// Checks whether the call may still continue, if that may have changed.
    fn look(&mut self, context: &mut Context<'_>) {
        let (Some(changes), Some(call)) = (&mut self.changes, &self.call) else { return };
        while let Poll::Ready(Some(_)) = Pin::new(&mut *changes).poll_next(context) {
            if let Err(status) = call.judge() {
                // A handler that reads messages learns it from them, and reports what it has done
                // before it ends.
                let waits = call.method.shape == Shape::Both;
                let at = waits.then(|| Box::pin(tokio::time::sleep(GRACE)));
                self.ending = Some(Ending { status, at });
                self.changes = None;
                return;
            }
        }
    }

    /// The trailers of an end whose time has come.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Option<HeaderMap> {
        let ending = self.ending.as_mut()?;
        if ending.at.as_mut().is_some_and(|at| at.as_mut().poll(context).is_pending()) {
            return None;
        }
        let mut trailers = HeaderMap::new();
        let said = ending.status.add_header(&mut trailers);
        self.ending = None;
        self.inner = tonic::body::Body::empty();
        said.is_ok().then_some(trailers)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.look(context);
        if let Some(trailers) = self.poll_end(context) {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let call = self.call.clone();
        Pin::new(&mut self.inner).poll_frame(context).map_ok(|frame| {
            frame.map_data(|bytes| match call {
                Some(call) => Bytes::from_owner(Held { bytes, _call: call }),
                None => bytes,
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ending.is_none() && self.inner.is_end_stream()
    }
}

/// Bytes on their way to the caller: until it reads them, the call keeps its share of the budgets.
struct Held {
    bytes: Bytes,
    _call: Arc<Call>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
