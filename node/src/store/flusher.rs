//! The flusher: makes applied groups durable while the writer runs the next one, then answers their callers.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use tokio::runtime::Handle;

use super::group::Answer;
use super::schema::{COUNTED, SlotId};
use super::{Change, Shared, StoreError, open};
use crate::audit::Tree;

/// A group that readers see and that is not durable yet.
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
    database: File,
    runtime: Option<Handle>,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let database = File::open(open::database_file(&shared.folder))?;
        Ok(Self { shared, database, runtime: Handle::try_current().ok() })
    }

    /// Ends with the writer.
    pub(super) fn run(self, applied: &Receiver<Applied>) {
        let mut done = Ok(());
        while let Ok(first) = applied.recv() {
            // The writer is at most one group ahead: that one shares the flush.
            let groups: Vec<_> = std::iter::once(first).chain(applied.try_recv().ok()).collect();
            if groups.iter().any(|group| group.effects.is_some()) {
                done = done.and_then(|()| self.flush().map_err(|error| self.shared.stop(&error)));
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
            }
        }
    }

    /// The flush that is safe is sled's own and `sync_data` on its file.
    fn flush(&self) -> Result<(), StoreError> {
        self.shared.tree.flush()?;
        Ok(self.database.sync_data()?)
    }

    /// Overwrites the keys that are to be forgotten, then tells what is true now.
    fn follow(&self, effects: Effects) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.slots.erase(&effects.erased)?;
        shared.slots.release(effects.erased);
        for (prefix, count) in COUNTED.iter().zip(effects.counts) {
            if let Some(held) = shared.counts.get(prefix) {
                held.store(count, Ordering::Relaxed);
            }
        }
        *shared.log.lock().unwrap_or_else(PoisonError::into_inner) = effects.log;
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
