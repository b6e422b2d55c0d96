//! Counts the calls at a door, by method and code, when they end.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use metrics::{Counter, Histogram, Label};
use tokio::time::Instant;

use crate::id::AuthorityId;

/// Puts [`CountCalls`] around a door's services.
#[derive(Clone, Debug)]
pub struct CallsLayer(Arc<Door>);

/// The series of a door, each made when first needed: looking one up costs more than counting.
#[derive(Debug)]
struct Door {
    authority: AuthorityId,
    name: &'static str,
    methods: RwLock<HashMap<String, Arc<Method>>>,
}

#[derive(Debug)]
struct Method {
    name: String,
    seconds: Histogram,
    codes: [OnceLock<Counter>; CODES],
}

/// gRPC's codes: 0 to 16.
const CODES: usize = 17;

impl Door {
    fn labels(&self, method: &str) -> Vec<Label> {
        vec![
            Label::new("authority", self.authority.to_string()),
            Label::new("door", self.name),
            Label::new("method", method.to_owned()),
        ]
    }

    fn method(&self, name: &str) -> Arc<Method> {
        let known = self.methods.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
            let made = || {
                let seconds = metrics::histogram!("entente_call_seconds", self.labels(name));
                let codes = std::array::from_fn(|_| OnceLock::new());
                Arc::new(Method { name: name.to_owned(), seconds, codes })
            };
            Arc::clone(methods.entry(name.to_owned()).or_insert_with(made))
        })
    }

    fn count(&self, method: &Method, code: i32, seconds: f64) {
        method.seconds.record(seconds);
        let counter = || {
            let mut labels = self.labels(&method.name);
            labels.push(Label::new("code", code.to_string()));
            metrics::counter!("entente_calls_total", labels)
        };
        match usize::try_from(code).ok().and_then(|code| method.codes.get(code)) {
            Some(held) => held.get_or_init(counter).increment(1),
            None => counter().increment(1),
        }
    }
}

impl CallsLayer {
    /// For one door, `exchange` or `desk`, of this authority's node.
    pub fn new(authority: AuthorityId, door: &'static str) -> Self {
        Self(Arc::new(Door { authority, name: door, methods: RwLock::default() }))
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
    door: Arc<Door>,
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
            door: Arc::clone(&layer.0),
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
        // A caller may invent names; only existing ones become a series.
        let known = code != UNIMPLEMENTED && self.code.is_some();
        let method = if known { self.method.as_str() } else { "unknown" };
        let seconds = self.began.elapsed().as_secs_f64();
        self.door.count(&self.door.method(method), code, seconds);
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
