//! The gate before the services of a door. It decides from the headers of a request alone who is
//! calling, by the live record, and whether they may. Only then are messages read, within bounds of
//! size, memory and time. A call ends when the right to it ends.

mod answer;
mod budget;
mod call;
mod judge;
mod methods;
mod request;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Body;
use tokio::sync::watch;
use tonic::{Code, Status};

pub use answer::AnswerBody;
pub use budget::{Allowance, Budget, CALLER_BYTES_MAX, DESK_BYTES_MAX, EXCHANGE_BYTES_MAX};
pub use call::{Call, GRACE, Line, Phase};
pub use judge::{Judged, held_to, judge};
pub use methods::{EXCHANGE_MESSAGE_BYTES_MAX, METHODS, Method, Needs, Shape};
pub use request::RequestBody;

use crate::reason::Reason;
use crate::wire::refusal::refusal;

/// The services of a door behind the gate, for the calls on one connection.
#[derive(Clone)]
pub struct Gate<S> {
    line: Arc<Line>,
    services: S,
}

impl<S> Gate<S> {
    /// Before `services`, for one connection.
    pub fn new(line: Arc<Line>, services: S) -> Self {
        Self { line, services }
    }

    /// Judges who calls which method.
    fn admit(&self, path: &str) -> Result<Admitted, Status> {
        let found = methods::find(path).ok_or_else(unknown_method)?;
        // Subscribes before judging, so that later changes are seen.
        let phase = self.line.phase.subscribe();
        let judged =
            self.line.judge(found.1).inspect_err(|status| self.line.note(found.1, status))?;
        Ok(Admitted { call: Arc::new(Call::begin(Arc::clone(&self.line), found)), judged, phase })
    }
}

/// A call that may begin.
struct Admitted {
    call: Arc<Call>,
    judged: Judged,
    phase: watch::Receiver<Phase>,
}

impl<S, B> tower::Service<Request<B>> for Gate<S>
where
    S: tower::Service<
            Request<RequestBody<B>>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admitted = self.admit(request.uri().path());
        let services = self.services.clone();
        Box::pin(async move {
            let answered = match admitted {
                Ok(admitted) => answer(admitted, services, request).await,
                Err(status) => Err(status),
            };
            Ok(answered.unwrap_or_else(AnswerBody::refusal))
        })
    }
}

async fn answer<S, B>(
    Admitted { call, judged, phase }: Admitted,
    mut services: S,
    request: Request<B>,
) -> Result<Response<AnswerBody>, Status>
where
    S: tower::Service<
            Request<RequestBody<B>>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
        >,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = call.method.holds_bytes;
    let charge = match call.allowance().take_now(bytes) {
        Some(charge) => charge,
        None => {
            let charge = call.allowance().take(bytes).await?;
            // A caller that has waited is judged again.
            call.judge()?;
            charge
        }
    };
    call.hold(charge);
    let (mut head, body) = request.into_parts();
    head.extensions.insert(judged);
    head.extensions.insert(Arc::clone(&call));
    let body = RequestBody::new(body, Arc::clone(&call));
    let answering = services.call(Request::from_parts(head, body));
    let seen = phase.clone();
    tokio::select! {
        biased;
        Ok(answer) = answering => Ok(AnswerBody::answer(answer, call, seen)),
        status = cut_off(&call, phase) => Err(status),
        () = tokio::time::sleep(call.method.answers_within) => Err(too_slow()),
    }
}

/// Returns some time after the call has lost its right to continue.
async fn cut_off(call: &Call, phase: watch::Receiver<Phase>) -> Status {
    let status = call.ended(phase).await;
    tokio::time::sleep(GRACE).await;
    status
}

fn unknown_method() -> Status {
    let message = "this node has no such method: it may be of another version";
    refusal(Code::Unimplemented, Reason::UnknownMethod, message)
}

fn too_slow() -> Status {
    let message = "the node did not answer in time; whether it did what was asked is unknown: look \
                   before you repeat it";
    refusal(Code::DeadlineExceeded, Reason::AnswerTooSlow, message)
}

/// The user that calls, as the gate found it.
///
/// # Errors
/// When no user calls.
pub fn user<T>(request: &tonic::Request<T>) -> Result<crate::roles::Actor, Status> {
    match request.extensions().get() {
        Some(Judged::User(actor)) => Ok(actor.clone()),
        _ => Err(ungated()),
    }
}

/// The peer that calls, as the gate found it.
///
/// # Errors
/// When no peer calls.
pub fn peer<T>(request: &tonic::Request<T>) -> Result<crate::id::AuthorityId, Status> {
    match request.extensions().get() {
        Some(Judged::Peer(peer)) => Ok(peer.clone()),
        _ => Err(ungated()),
    }
}

/// The call that a request belongs to; whatever continues after its answer keeps it.
///
/// # Errors
/// When the gate has not seen the request.
pub fn call<T>(request: &tonic::Request<T>) -> Result<Arc<Call>, Status> {
    request.extensions().get().cloned().ok_or_else(ungated)
}

fn ungated() -> Status {
    refusal(
        Code::Internal,
        Reason::NotJudged,
        "the request did not come through the gate of its door",
    )
}
