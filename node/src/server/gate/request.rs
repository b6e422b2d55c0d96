//! The body of a request: enforces size, budgets and time of its messages, and judges each again
//! before handing it on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Status};

use super::budget::Charge;
use super::call::{Call, Phase};
use super::methods::Shape;
use crate::reason::Reason;
use crate::wire::refusal::refusal;

/// How long a message may take from its first byte to its last, and a request of one message to
/// end: as long as a sender waits for a receipt before it sends again.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The prefix of each gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// How many times a message is in memory: once as it came, once decoded. A stream keeps the buffer
/// for its largest message until it ends, but a decoded message only while it works on it, so there
/// it counts once.
pub(super) const COPIES: usize = 2;

/// The body of a request.
pub struct RequestBody<B> {
    inner: B,
    call: Arc<Call>,
    /// Wakes a waiting stream when its caller may have lost its rights; the gate ends other calls.
    changes: Option<WatchStream<Phase>>,
    /// Received but not handed on.
    rest: Bytes,
    /// Number of prefix bytes read, and the length they give so far.
    prefix: (usize, usize),
    /// Number of bytes at the beginning of `rest` that belong to the prefix.
    seen: usize,
    /// Number of bytes of the message after the prefix that were not handed on.
    left: usize,
    /// Size of the largest message that was paid for: tonic keeps a buffer of this size until the
    /// call ends.
    paid: usize,
    paying: Option<BoxFuture<'static, Result<Charge, Status>>>,
    late: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl<B> RequestBody<B> {
    /// Around the body of a request of `call`.
    pub fn new(inner: B, call: Arc<Call>) -> Self {
        let streams = call.method.shape == Shape::Both;
        Self {
            inner,
            changes: streams.then(|| WatchStream::from_changes(call.phase())),
            call,
            rest: Bytes::new(),
            prefix: (0, 0),
            seen: 0,
            left: 0,
            paid: 0,
            paying: None,
            late: None,
            over: false,
        }
    }

    /// Whether more must arrive in time.
    fn has_begun(&self) -> bool {
        self.changes.is_none() || self.prefix.0 > 0
    }

    /// Ready when the time to wait is over.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.has_begun() {
            let late =
                self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(MESSAGE_TIMEOUT)));
            if late.as_mut().poll(context).is_ready() {
                let message =
                    "a message that was begun did not come to its end in 30 s: send it again";
                return Poll::Ready(refusal(
                    Code::DeadlineExceeded,
                    Reason::RequestTooSlow,
                    message,
                ));
            }
        }
        while let Some(changes) = &mut self.changes {
            match Pin::new(changes).poll_next(context) {
                Poll::Ready(Some(_)) => {
                    if let Err(status) = self.call.judge() {
                        return Poll::Ready(status);
                    }
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Reads the prefix of a message as far as it has arrived, and begins to pay for the announced
    /// length.
    fn read_prefix(&mut self) -> Result<(), Status> {
        let (read, length) = &mut self.prefix;
        self.seen = self.rest.len().min(PREFIX_BYTES - *read);
        for byte in self.rest.iter().take(self.seen) {
            // The first byte says whether the message is compressed; tonic refuses a compressed
            // one.
            *length = if *read == 0 { 0 } else { *length << 8 | usize::from(*byte) };
            *read += 1;
        }
        if *read < PREFIX_BYTES {
            return Ok(());
        }
        self.left = *length;
        let most = self.call.method.message_bytes_max;
        if self.left > most {
            let message = format!(
                "the message has {} bytes, and this method takes {most}: send less",
                self.left
            );
            return Err(refusal(Code::OutOfRange, Reason::MessageTooLarge, &message));
        }
        if self.left > self.paid {
            let copies = if self.changes.is_some() { 1 } else { COPIES };
            let owed = copies * (self.left - self.paid);
            self.paid = self.left;
            let allowance = self.call.allowance();
            match allowance.take_now(owed) {
                Some(charge) => self.call.hold(charge),
                None => self.paying = Some(Box::pin(async move { allowance.take(owed).await })),
            }
        }
        Ok(())
    }

    /// The part of `rest` that belongs to the present message.
    fn hand_on(&mut self) -> Bytes {
        let length = self.rest.len().min(self.seen + self.left);
        self.left -= length - self.seen;
        self.seen = 0;
        if self.left == 0 && self.prefix.0 == PREFIX_BYTES {
            self.prefix = (0, 0);
            if self.changes.is_some() {
                self.late = None;
            }
        }
        self.rest.split_to(length)
    }

    fn is_between_messages(&self) -> bool {
        self.left == 0 && self.prefix.0 < PREFIX_BYTES
    }
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
                return self.poll_end(context).map(|status| Some(Err(status)));
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Ok(Ok(data))) => self.rest = data,
            }
            if self.is_between_messages() {
                self.read_prefix()?;
            }
        } else if self.paying.is_none() && self.seen == 0 && self.is_between_messages() {
            self.read_prefix()?;
        }
        if let Some(paying) = &mut self.paying {
            let charge = ready!(paying.as_mut().poll(context))?;
            self.paying = None;
            self.call.hold(charge);
        }
        self.call.judge()?;
        Poll::Ready(Some(Ok(Frame::data(self.hand_on()))))
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = ready!(self.poll(context));
        self.over = !matches!(polled, Some(Ok(_)));
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.rest.is_empty() && self.inner.is_end_stream())
    }
}
