//! People go before imports and before what goes to peers. While somebody waits for an answer,
//! imports and outgoing streams begin and commit nothing new; while people call, only a few drafts
//! of imports are on their way to the disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Longest time that a draft of an import, or a batch for a peer, waits for people: if they never
/// pause, both continue slowly.
const GIVING_WAY_MAX: Duration = Duration::from_millis(20);

/// Most drafts, of all imports together, that are worked on or committed at once: they share
/// flushes.
const DRAFTS_OPEN_MAX: u32 = 64;

/// The same while people call: the next caller waits for the flush of whatever is on its way.
const DRAFTS_OPEN_MAX_AMONG_PEOPLE: u32 = 1;

/// After this long without a call nobody is considered present; the next caller may then wait a few
/// milliseconds longer.
const NOBODY_AFTER: Duration = Duration::from_secs(60);

/// Who is waiting for an answer, and what imports have under way.
pub struct Precedence {
    people: watch::Sender<usize>,
    last_call: Mutex<Option<Instant>>,
    open: Arc<Semaphore>,
    cores: Arc<Semaphore>,
}

/// A call of a person who waits for the answer, until it is dropped.
pub struct Person<'a>(&'a Precedence);

/// The right to work on a draft of an import and to commit it, until it is dropped.
pub struct Turn<'a> {
    precedence: &'a Precedence,
    core: Option<OwnedSemaphorePermit>,
    _open: Option<OwnedSemaphorePermit>,
}

impl Default for Precedence {
    /// As many drafts are worked on at once as there are cores: more would only delay the next
    /// caller.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            people: watch::Sender::new(0),
            last_call: Mutex::default(),
            open: Arc::new(Semaphore::new(DRAFTS_OPEN_MAX as usize)),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }
}

impl Precedence {
    /// Notes that a person is waiting from now on.
    pub fn person(&self) -> Person<'_> {
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.people.send_modify(|waiting| *waiting += 1);
        Person(self)
    }

    /// Waits until another draft may be worked on.
    pub async fn turn(&self) -> Turn<'_> {
        let share =
            if self.people_call() { DRAFTS_OPEN_MAX / DRAFTS_OPEN_MAX_AMONG_PEOPLE } else { 1 };
        // The semaphores are never closed.
        let open = Arc::clone(&self.open).acquire_many_owned(share).await.ok();
        let core = Arc::clone(&self.cores).acquire_owned().await.ok();
        self.give_way().await;
        Turn { precedence: self, core, _open: open }
    }

    fn people_call(&self) -> bool {
        let last = *self.last_call.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < NOBODY_AFTER)
    }

    /// Waits until no person is waiting, or for 20 ms.
    pub async fn give_way(&self) {
        let mut people = self.people.subscribe();
        let nobody = people.wait_for(|waiting| *waiting == 0);
        // In either case, when nobody is waiting or the time is over, it continues.
        let _ = tokio::time::timeout(GIVING_WAY_MAX, nobody).await;
    }
}

impl Turn<'_> {
    /// Marks the draft as ready to commit: another may be worked on, and people go first once more.
    pub async fn ready(&mut self) {
        self.core = None;
        self.precedence.give_way().await;
    }
}

impl Drop for Person<'_> {
    fn drop(&mut self) {
        self.0.people.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_draft_waits_for_people_and_not_for_ever() {
        let precedence = Precedence::default();
        drop(timeout(Duration::ZERO, precedence.turn()).await.expect("nobody waits"));
        let person = precedence.person();
        assert!(timeout(GIVING_WAY_MAX / 2, precedence.turn()).await.is_err());
        drop(timeout(GIVING_WAY_MAX * 2, precedence.turn()).await.expect("it waited long"));
        drop(person);
        drop(timeout(Duration::ZERO, precedence.turn()).await.expect("nobody waits any more"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_drafts_are_worked_on_than_there_are_cores() {
        let precedence = Precedence::default();
        let mut turns = Vec::new();
        while let Ok(turn) = timeout(Duration::ZERO, precedence.turn()).await {
            turns.push(turn);
        }
        assert_eq!(turns.len(), std::thread::available_parallelism().map_or(1, usize::from));
    }

    #[tokio::test(start_paused = true)]
    async fn few_drafts_are_on_the_way_to_the_disk_while_people_call() {
        let precedence = Precedence::default();
        assert_eq!(on_the_way(&precedence).await, DRAFTS_OPEN_MAX as usize);
        drop(precedence.person());
        assert_eq!(on_the_way(&precedence).await, DRAFTS_OPEN_MAX_AMONG_PEOPLE as usize);
        tokio::time::sleep(NOBODY_AFTER).await;
        assert_eq!(on_the_way(&precedence).await, DRAFTS_OPEN_MAX as usize);
    }

    async fn on_the_way(precedence: &Precedence) -> usize {
        let mut turns = Vec::new();
        while let Ok(mut turn) = timeout(Duration::ZERO, precedence.turn()).await {
            turn.ready().await;
            turns.push(turn);
        }
        turns.len()
    }
}
