//! One call under way: by whom, of which method, what it holds, and whether it may go on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Status};

use super::budget::{Allowance, Charge};
use super::judge::{Judged, judge};
use super::methods::{METHODS, Method, Shape};
use crate::node::SharedNode;
use crate::reason::Reason;
use crate::server::door::Caller;
use crate::wire::refusal::refusal;

/// How long what a call has begun may take to end once it may not go on: an answer whose commit is
/// under way still comes. Together with what it takes to notice, less than a second.
pub const GRACE: Duration = Duration::from_millis(400);

/// How a connection stands. Every change of it, also to the same, has its open calls judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes calls.
    Open,
    /// It has reached its age: streams end, so that certificates and roots are looked at anew.
    Old,
    /// The node ends.
    Ending,
}

/// What the calls over one connection share.
pub struct Line {
    /// Of which node.
    pub node: SharedNode,
    /// Who is at the other end.
    pub caller: Caller,
    /// What its calls take from.
    pub allowance: Allowance,
    /// How it stands.
    pub phase: watch::Sender<Phase>,
    /// Calls under way, by the place of their method.
    open: Vec<AtomicU32>,
    /// A refusal was logged: one line for each connection, whatever its caller sends.
    noted: AtomicBool,
}

impl Line {
    /// A connection that begins now.
    pub fn new(node: SharedNode, caller: Caller, allowance: Allowance) -> Self {
        let open = METHODS.iter().map(|_| AtomicU32::new(0)).collect();
        let (phase, noted) = (watch::Sender::new(Phase::Open), AtomicBool::new(false));
        Self { node, caller, allowance, phase, open, noted }
    }

    /// Whether its caller may begin or continue a call of `method` now.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, method: &Method) -> Result<Judged, Status> {
        let judged = judge(&self.node, &self.caller, method.needs)?;
        match *self.phase.borrow() {
            Phase::Old if method.shape != Shape::Unary => Err(too_old()),
            Phase::Ending if method.shape != Shape::Unary => Err(ending()),
            _ => Ok(judged),
        }
    }

    /// Logs the first refusal.
    pub fn note(&self, method: &Method, status: &Status) {
        if !self.noted.swap(true, Ordering::Relaxed) {
            // Nothing of this is the caller's: the path is in the table, the message ours.
            tracing::info!(method = method.path, "a call was refused: {}", status.message());
        }
    }

    /// Whether a call is open that may not go on.
    pub fn is_overdue(&self) -> bool {
        let mut open = METHODS.iter().zip(&self.open);
        open.any(|(method, open)| open.load(Ordering::Relaxed) > 0 && self.judge(method).is_err())
    }
}

fn too_old() -> Status {
    let message = "the stream has reached its age; open another";
    refusal(Code::Unavailable, Reason::StreamTooOld, message)
}

fn ending() -> Status {
    refusal(Code::Unavailable, Reason::ShuttingDown, "this node is ending; try again later")
}

/// A call. Whatever works on it, or holds bytes of its answer, holds it: what it has taken of the
/// budgets is given back when the last has let go.
pub struct Call {
    line: Arc<Line>,
    place: usize,
    /// What is called.
    pub method: &'static Method,
    charge: Mutex<Option<Charge>>,
}

impl Call {
    /// A call that begins, of the method at this place.
    pub fn begin(line: Arc<Line>, (place, method): (usize, &'static Method)) -> Self {
        if let Some(open) = line.open.get(place) {
            open.fetch_add(1, Ordering::Relaxed);
        }
        Self { line, place, method, charge: Mutex::default() }
    }

    /// How the connection stands; changes have the call judged anew.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.line.phase.subscribe()
    }

    /// From where it takes.
    pub fn allowance(&self) -> Allowance {
        self.line.allowance.clone()
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self) -> Result<Judged, Status> {
        self.line.judge(self.method)
    }

    /// Holds what was taken until it ends.
    pub fn hold(&self, more: Charge) {
        let mut held = self.charge.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(charge) => charge.add(more),
            None => *held = Some(more),
        }
    }

    /// Returns when it may not go on, and why.
    pub async fn ended(&self, mut phase: watch::Receiver<Phase>) -> Status {
        while phase.changed().await.is_ok() {
            if let Err(status) = self.judge() {
                return status;
            }
        }
        // The connection is gone, and whoever waits here with it.
        std::future::pending().await
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(open) = self.line.open.get(self.place) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
