//! The flusher: makes applied groups durable while the writer runs the next one, then answers their
//! callers.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use tokio::runtime::Handle;

use super::database::Database;
use super::group::Answer;
use super::schema::{COUNTED, SlotId};
use super::shared::Shared;
use super::{Change, StoreError};
use crate::audit::Tree;

/// A group that is applied and not durable yet: readers do not see it.
pub(super) struct Applied {
    /// None when it wrote nothing, or the store stopped writing.
    pub(super) effects: Option<Effects>,
    pub(super) answers: Vec<Answer>,
}

/// What follows once a group is durable.
pub(super) struct Effects {
    pub(super) erased: Vec<SlotId>,
    pub(super) log: Tree,
    pub(super) counts: [u64; COUNTED.len()],
    pub(super) announced: Vec<Change>,
}

pub(super) struct Flusher {
    shared: Arc<Shared>,
    database: Arc<Database>,
    runtime: Option<Handle>,
}

impl Flusher {
    pub(super) fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        runtime: Option<Handle>,
    ) -> Self {
        Self { shared, database, runtime }
    }

    /// Ends with the writer.
    pub(super) fn run(self, applied: &Receiver<Applied>) {
        let mut done = Ok(());
        while let Ok(first) = applied.recv() {
            // The writer is at most one group ahead: that one shares the flush.
            let groups: Vec<_> = std::iter::once(first).chain(applied.try_recv().ok()).collect();
            if groups.iter().any(|group| group.effects.is_some()) {
                let flush = |()| self.database.flush().map_err(|error| self.shared.stop(&error));
                done = done.and_then(flush);
            }
            for Applied { effects, answers } in groups {
                let answer = match effects {
                    Some(effects) => {
                        let follow = |()| self.follow(effects);
                        done = done.and_then(follow).map_err(|error| self.shared.stop(&error));
                        done.clone()
                    }
                    None => done.clone().and_then(|()| self.shared.writable()),
                };
                self.answer(answers, answer);
            }
            if self.shared.disk.has_room(self.shared.clock.now()) {
                // Should it fail, then the writer finds out once it needs the room.
                let _ = self.shared.cells.grow_ahead();
                self.shared.keep_reserve();
            }
        }
    }

    /// Shows what is durable, overwrites the keys that are to be forgotten, then tells what is true
    /// now.
    fn follow(&self, effects: Effects) -> Result<(), StoreError> {
        let shared = &self.shared;
        // The log first: whoever sees a record finds it logged.
        *shared.log.lock().unwrap_or_else(PoisonError::into_inner) = effects.log;
        self.database.settle();
        shared.slots.erase(&effects.erased)?;
        shared.slots.release(effects.erased);
        for (prefix, count) in COUNTED.iter().zip(effects.counts) {
            if let Some(held) = shared.counts.get(prefix) {
                held.store(count, Ordering::Relaxed);
            }
        }
        for change in effects.announced {
            // Nobody may be listening.
            let _ = shared.changes.send(change);
        }
        Ok(())
    }

    fn answer(&self, answers: Vec<Answer>, done: Result<(), StoreError>) {
        let answering = move || answers.into_iter().for_each(|answer| answer(&done));
        match &self.runtime {
            // Callers wake where they run: one hand-over instead of one for each.
            Some(runtime) => drop(runtime.spawn(async move { answering() })),
            None => answering(),
        }
    }
}
