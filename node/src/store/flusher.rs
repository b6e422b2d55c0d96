//! The flusher: makes applied groups durable while the writer runs the next one, then answers their
//! callers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use tokio::runtime::Handle;

use super::cells::Run;
use super::database::{Database, Earlier};
use super::group::Answer;
use super::schema::{COUNTED, SlotId};
use super::shared::Shared;
use super::{Change, StoreError};
use crate::audit::Tree;

/// A group that is applied but not durable yet, so that readers do not see it.
pub(super) struct Applied {
    /// None when it wrote nothing, or the store stopped writing.
    pub(super) effects: Option<Effects>,
    pub(super) answers: Vec<Answer>,
}

/// What to do once a group is durable.
pub(super) struct Effects {
    pub(super) erased: Vec<SlotId>,
    pub(super) freed: Vec<Run>,
    pub(super) log: Tree,
    pub(super) counts: [u64; COUNTED.len()],
    pub(super) announced: Vec<Change>,
}

pub(super) struct Flusher {
    shared: Arc<Shared>,
    database: Arc<Database>,
    runtime: Option<Handle>,
    /// Places of keys that were overwritten while somebody still read the state that names them:
    /// another key in such a place would open for them what it was not sealed for.
    unreleased: VecDeque<(Earlier, Vec<SlotId>, Vec<Run>)>,
}

impl Flusher {
    pub(super) fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        runtime: Option<Handle>,
    ) -> Self {
        Self { shared, database, runtime, unreleased: VecDeque::new() }
    }

    /// Runs until the writer ends.
    pub(super) fn run(mut self, applied: &Receiver<Applied>) {
        let mut done = Ok(());
        while let Ok(first) = applied.recv() {
            // The writer is at most one group ahead, and that one shares the flush.
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
                // If this fails, the writer notices when it needs the room.
                let _ = self.shared.cells.grow_ahead();
                self.shared.keep_reserve();
            }
        }
    }

    /// Shows readers what is durable, overwrites the keys to forget, then announces the changes.
    fn follow(&mut self, effects: Effects) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        // The log comes first, so that whoever sees a record finds it logged.
        *shared.log.lock().unwrap_or_else(PoisonError::into_inner) = effects.log;
        if effects.erased.is_empty() {
            self.database.show_next();
        } else {
            let _alone = shared.erasing.write().unwrap_or_else(PoisonError::into_inner);
            let earlier = self.database.show_next();
            shared.contents.forget(&effects.erased);
            shared.slots.erase(&effects.erased)?;
            self.unreleased.push_back((earlier, effects.erased, effects.freed));
        }
        self.release();
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

    /// Gives away again the places of overwritten keys that nobody's state names any more.
    fn release(&mut self) {
        while self.unreleased.front().is_some_and(|(earlier, ..)| earlier.are_gone()) {
            let Some((_, slots, runs)) = self.unreleased.pop_front() else { return };
            self.shared.slots.release(slots);
            self.shared.cells.release(runs);
        }
    }

    fn answer(&self, answers: Vec<Answer>, done: Result<(), StoreError>) {
        let answering = move || answers.into_iter().for_each(|answer| answer(&done));
        match &self.runtime {
            // Callers wake on their own runtime: one hand-over instead of one for each.
            Some(runtime) => drop(runtime.spawn(async move { answering() })),
            None => answering(),
        }
    }
}
