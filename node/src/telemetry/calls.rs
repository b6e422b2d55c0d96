//! Counts the calls at a door, by method and code, when they end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::id::AuthorityId;

/// Puts [`CountCalls`] around a door's services.
#[derive(Clone, Debug)]
pub struct CallsLayer {
    authority: AuthorityId,
    door: &'static str,
}

impl CallsLayer {
    /// For one door, `exchange` or `desk`, of this authority's node.
    pub fn new(authority: AuthorityId, door: &'static str) -> Self {
        Self { authority, door }
    }
}

impl<S> tower::Layer<S> for CallsLayer {
    type Service = CountCalls<S>;

    fn layer(&self, inner: S) -> CountCalls<S> {
        CountCalls { inner, layer: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct CountCalls<S> {
    inner: S,
    layer: CallsLayer,
}

impl<S, B, R> tower::Service<Request<B>> for CountCalls<S>
where
    S: tower::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = Response<CountedBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call::begin(&self.layer, request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            call.note(&head.headers);
            Ok(Response::from_parts(head, CountedBody { inner: Box::pin(body), call }))
        })
    }
}

/// One call under way; counted when dropped, so that a call whose caller went away is counted too.
#[derive(Debug)]
struct Call {
    authority: AuthorityId,
    door: &'static str,
    method: String,
    began: Instant,
    code: Option<i32>,
}

/// gRPC's code for a call that ended without one: its caller went away.
const CANCELLED: i32 = 1;

/// gRPC's code for a method that does not exist.
const UNIMPLEMENTED: i32 = 12;

impl Call {
    fn begin(layer: &CallsLayer, path: &str) -> Self {
        Self {
            authority: layer.authority.clone(),
            door: layer.door,
            method: path.trim_start_matches('/').to_owned(),
            began: Instant::now(),
            code: None,
        }
    }

    fn note(&mut self, headers: &HeaderMap) {
        let code = headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
        self.code = code.or(self.code);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(CANCELLED);
        // A caller may invent names; only those that exist become a series.
        let known = code != UNIMPLEMENTED && self.code.is_some();
        let method = if known { std::mem::take(&mut self.method) } else { "unknown".to_owned() };
        let authority = self.authority.to_string();
        let labels = vec![
            metrics::Label::new("authority", authority),
            metrics::Label::new("door", self.door),
            metrics::Label::new("method", method),
        ];
        let mut with_code = labels.clone();
        with_code.push(metrics::Label::new("code", code.to_string()));
        let seconds = self.began.elapsed().as_secs_f64();
        metrics::histogram!("entente_call_seconds", labels).record(seconds);
        metrics::counter!("entente_calls_total", with_code).increment(1);
    }
}

/// The body of an answer; its trailers carry the code.
#[derive(Debug)]
pub struct CountedBody<R> {
    inner: Pin<Box<R>>,
    call: Call,
}

impl<R: Body<Data = Bytes>> Body for CountedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.note(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
