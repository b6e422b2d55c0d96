//! Commits: the only way to write.

use std::sync::PoisonError;

use tokio::sync::{mpsc, oneshot};

use super::group::{self, Job, Tx};
use super::writer::GROUP_BYTES_MAX;
use super::{CommitError, Store, StoreError};
use crate::audit::Event;

/// The result of a transaction: what to return, and the events that say what was done. Nothing can
/// be committed without an event.
pub struct Committed<T> {
    pub(super) value: T,
    pub(super) events: Vec<Event>,
}

impl<T> Committed<T> {
    /// With its first event.
    pub fn new(value: T, event: Event) -> Self {
        Self { value, events: vec![event] }
    }

    /// One more event.
    #[must_use]
    pub fn and(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }
}

impl Store {
    /// Waits until everything given to the writer before is durable.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn settled(&self) -> Result<(), StoreError> {
        let (sender, outcome) = oneshot::channel();
        let job = group::nothing(move |flushed| {
            // A caller that went away needs no answer.
            let _ = sender.send(flushed.clone());
        });
        let jobs = self.jobs().map_err(CommitError::<StoreError>::flatten)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `f` on the writer thread against the newest state, one transaction after the other. The
    /// writes of a group become durable in one flush, key slots first; then this returns. `Err`
    /// from `f` writes nothing. `f` must be quick: seal and sign before.
    ///
    /// # Errors
    /// What `f` refused with, or the store's failure.
    pub async fn commit<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = group::job(f);
        let closed = || CommitError::Store(StoreError::Closed);
        self.jobs()?.send(job).await.map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Like [`Store::commit`], for callers outside of async code. It waits on a separate thread, so
    /// that it may also be called on a thread that a runtime drives.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_blocking<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = group::job(f);
        let jobs = self.jobs()?;
        let waiting = std::thread::spawn(move || {
            jobs.blocking_send(job).ok()?;
            outcome.blocking_recv().ok()
        });
        let closed = || Err(CommitError::Store(StoreError::Closed));
        waiting.join().ok().flatten().unwrap_or_else(closed)
    }

    /// Like [`Store::commit`], for transactions that grow the store: refused when there is no
    /// [`Store::room`]. Withdrawal, retraction and erasure use `commit`.
    ///
    /// # Errors
    /// [`StoreError::Full`], and as [`Store::commit`].
    pub async fn commit_growing<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        if !self.room() {
            return Err(CommitError::Store(StoreError::Full));
        }
        self.commit(f).await
    }

    /// Like [`Store::commit`], for looks: refused when the disk is full, so that the reserve is
    /// left for withdrawals and erasures.
    ///
    /// # Errors
    /// [`StoreError::Full`], and as [`Store::commit`].
    pub async fn commit_look<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let shared = &self.0.shared;
        if !shared.disk.has(shared.clock.now(), GROUP_BYTES_MAX as u64) {
            return Err(CommitError::Store(StoreError::Full));
        }
        self.commit(f).await
    }

    fn jobs<E>(&self) -> Result<mpsc::Sender<Job>, CommitError<E>> {
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or(CommitError::Store(StoreError::Closed))
    }
}
