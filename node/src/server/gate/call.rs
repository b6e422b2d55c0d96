//! One open call: who calls which method, how much it uses, and whether it may continue.

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

/// How long the work of a call may take to end once the call may not continue: an answer whose
/// commit is under way still arrives. Including the time to notice, this is less than a second.
pub const GRACE: Duration = Duration::from_millis(400);

/// The phase of a connection. Every change, even to the same phase, has its open calls judged
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes calls.
    Open,
    /// It has reached its maximum age: streams end, so that certificates and roots are checked
    /// again.
    Old,
    /// The node ends.
    Ending,
}

/// State that the calls on one connection share.
pub struct Line {
    /// Of which node.
    pub node: SharedNode,
    /// Who is at the other end.
    pub caller: Caller,
    /// The budgets from which its calls take.
    pub allowance: Allowance,
    /// Its phase.
    pub phase: watch::Sender<Phase>,
    /// Calls under way, by the place of their method.
    open: Vec<AtomicU32>,
    /// Whether a refusal was logged: one line for each connection, whatever its caller sends.
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
            // None of this comes from the caller: the path is in the table, the message is ours.
            tracing::info!(method = method.path, "a call was refused: {}", status.message());
        }
    }

    /// Whether there is an open call that may not continue.
    pub fn is_overdue(&self) -> bool {
        let mut open =
            METHODS.iter().zip(&self.open).filter(|(_, open)| open.load(Ordering::Relaxed) > 0);
        // While the store is opened again nothing is known, and the call itself is told so.
        open.any(|(method, _)| {
            self.judge(method).is_err_and(|status| status.code() != Code::Unavailable)
        })
    }
}

fn too_old() -> Status {
    let message = "the stream has reached its age; open another";
    refusal(Code::Unavailable, Reason::StreamTooOld, message)
}

fn ending() -> Status {
    refusal(Code::Unavailable, Reason::ShuttingDown, "this node is ending; try again later")
}

/// A call. Whatever works on it, or has bytes of its answer, keeps it alive; its share of the
/// budgets is given back when the last one drops it.
pub struct Call {
    line: Arc<Line>,
    place: usize,
    /// What is called.
    pub method: &'static Method,
    charge: Mutex<Option<Charge>>,
}

impl Call {
    /// A new call of the method at this place.
    pub fn begin(line: Arc<Line>, (place, method): (usize, &'static Method)) -> Self {
        if let Some(open) = line.open.get(place) {
            open.fetch_add(1, Ordering::Relaxed);
        }
        Self { line, place, method, charge: Mutex::default() }
    }

    /// The phase of the connection; changes have the call judged again.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.line.phase.subscribe()
    }

    /// From where it takes.
    pub fn allowance(&self) -> Allowance {
        self.line.allowance.clone()
    }

    /// Checks whether it may continue.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self) -> Result<Judged, Status> {
        self.line.judge(self.method)
    }

    /// Keeps what was taken until it ends.
    pub fn hold(&self, more: Charge) {
        let mut held = self.charge.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(charge) => charge.add(more),
            None => *held = Some(more),
        }
    }

    /// Returns the reason as soon as it may not continue.
    pub async fn ended(&self, mut phase: watch::Receiver<Phase>) -> Status {
        while phase.changed().await.is_ok() {
            if let Err(status) = self.judge() {
                return status;
            }
        }
        // The connection is gone, and with it whoever waits here.
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
