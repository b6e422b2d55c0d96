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

/// What a commit adds that can wait until there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Something that stays, for which there must be [`Store::room`].
    Content,
    /// An entry of the log about something that was only looked at: it needs no more than a flush
    /// does.
    Log,
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
    /// ```
    /// use entente_node::audit::{Event, Operation};
    /// use entente_node::id::{Clock, Entropy, Secret};
    /// use entente_node::store::{CommitError, Committed, Meta, Store, StoreError, StoreOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let owner = "dk.politi".parse()?;
    /// let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min: 0 };
    /// let (clock, entropy) = (Clock::system(), Entropy::os());
    /// let key = Secret::new([7; 32]);
    /// let store = Store::open(folder.path(), &owner, &key, &options, clock, entropy)?;
    ///
    /// let name = "visits".to_owned();
    /// let committed = store.commit(move |tx| {
    ///     // What the write rests on is read in the transaction: nothing comes in between.
    ///     let before = tx.get::<Meta>(&name)?.unwrap_or_default();
    ///     let after = [before, vec![1]].concat();
    ///     tx.put::<Meta>(&name, &after);
    ///     // Nothing is written without an event in the audit log.
    ///     let event = Event::new(Operation::Key, "example.visited", "node");
    ///     Ok::<_, StoreError>(Committed::new(after.len(), event))
    /// });
    /// assert_eq!(committed.await.map_err(CommitError::flatten)?, 1);
    /// assert_eq!(store.get::<Meta>(&"visits".to_owned())?, Some(vec![1]));
    /// assert_eq!(store.log().size(), 1);
    /// # Ok(())
    /// # }
    /// ```
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

    /// As [`Store::commit`], for what can be refused when the disk is full: the reserve is left to
    /// what withdraws, retracts and erases.
    ///
    /// # Errors
    /// [`StoreError::Full`], and as [`Store::commit`].
    pub async fn commit_growing<T, E>(
        &self,
        growth: Growth,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let shared = &self.0.shared;
        let has_room = match growth {
            Growth::Content => self.room(),
            Growth::Log => shared.disk.has(shared.clock.now(), GROUP_BYTES_MAX as u64),
        };
        if !has_room {
            return Err(CommitError::Store(StoreError::Full));
        }
        self.commit(f).await
    }

    fn jobs<E>(&self) -> Result<mpsc::Sender<Job>, CommitError<E>> {
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or(CommitError::Store(StoreError::Closed))
    }
}
