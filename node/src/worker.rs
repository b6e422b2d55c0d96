//! Work that would hold up the threads which serve others: it computes, or reads many records.

use crate::id::AuthorityId;
use crate::telemetry;

/// Work broke off by a fault of this node, which says nothing of what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault of this node: the task {0:?} broke off; the node's output says where")]
pub struct Panicked(&'static str);

/// Runs `work` beside the threads that serve others, and waits for it.
///
/// # Errors
/// [`Panicked`]: it is logged as this node's fault and counted under the name of the task, and
/// nothing else ends with it.
pub async fn run<T: Send + 'static>(
    authority: &AuthorityId,
    task: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    #[cfg(test)]
    let work = planted::before(authority, task, work);
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        // Otherwise the process ends: nobody is told of that here.
        if error.is_panic() {
            tracing::error!(%authority, task, "a fault of this node: a task broke off");
            telemetry::panicked(authority, task);
        }
        Panicked(task)
    })
}

/// Faults that tests plant.
#[cfg(test)]
pub(crate) mod planted {
    use std::sync::{Mutex, PoisonError};

    use super::AuthorityId;

    static PLANTED: Mutex<Vec<(String, &str)>> = Mutex::new(Vec::new());

    /// The next such task of this authority's node panics.
    pub(crate) fn panic_in(authority: &AuthorityId, task: &'static str) {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        planted.push((authority.to_string(), task));
    }

    pub(super) fn before<T, W: FnOnce() -> T>(
        authority: &AuthorityId,
        task: &'static str,
        work: W,
    ) -> impl FnOnce() -> T + use<T, W> {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let this = (authority.to_string(), task);
        let found = planted.iter().position(|fault| *fault == this);
        let panics = found.map(|place| planted.swap_remove(place)).is_some();
        move || {
            assert!(!panics, "planted");
            work()
        }
    }
}
