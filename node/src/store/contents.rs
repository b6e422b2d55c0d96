//! Content that is opened and that others want at the same time: held in memory for a moment, and
//! forgotten before its key is overwritten.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::schema::SlotId;

/// Bytes of content held: some hundred alerts, which is as far as the streams to the peers of a
/// node are apart while it imports.
pub(super) const CONTENTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Content is held for so long at most, in seconds: streams that run at the same time ask for the
/// same within that.
pub(super) const CONTENTS_S: i64 = 5;

pub(super) type Content = Arc<dyn Any + Send + Sync>;

/// What is held.
#[derive(Default)]
pub(super) struct Contents(Mutex<Held>);

#[derive(Default)]
struct Held {
    by_slot: HashMap<SlotId, Kept>,
    bytes: usize,
    /// Counts what was ever held: the oldest goes first.
    number: u64,
    /// When it was last looked at what is held for too long.
    looked: i64,
}

struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
    /// By the monotonic clock.
    since: i64,
    number: u64,
}

/// Content, once somebody made it: whoever wants the same meanwhile waits for that.
#[derive(Default)]
pub(super) struct Entry(Mutex<Option<Content>>);

impl Entry {
    pub(super) fn content(&self) -> MutexGuard<'_, Option<Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, slot: SlotId, now: i64) -> Arc<Entry> {
        let mut held = self.held();
        held.end(now);
        let number = held.number;
        held.number += 1;
        let new = || Kept { entry: Arc::default(), bytes: 0, since: now, number };
        Arc::clone(&held.by_slot.entry(slot).or_insert_with(new).entry)
    }

    /// Counts the content of an entry; false when the entry was forgotten meanwhile.
    pub(super) fn keep(&self, slot: SlotId, entry: &Arc<Entry>, bytes: usize) -> bool {
        let mut held = self.held();
        let Some(kept) = held.by_slot.get_mut(&slot) else { return false };
        if !Arc::ptr_eq(&kept.entry, entry) || bytes > CONTENTS_BYTES_MAX {
            return false;
        }
        kept.bytes = bytes;
        held.bytes += bytes;
        while held.bytes > CONTENTS_BYTES_MAX {
            let others =
                held.by_slot.iter().filter(|(other, kept)| **other != slot && kept.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, kept)| kept.number).map(|(slot, _)| *slot)
            else {
                break;
            };
            held.forget(oldest);
        }
        true
    }

    /// Forgets what was made of the content of these slots.
    pub(super) fn forget(&self, slots: &[SlotId]) {
        let mut held = self.held();
        slots.iter().for_each(|slot| held.forget(*slot));
    }

    /// Forgets everything: slots may be given to other records from now on.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        held.by_slot.clear();
        held.bytes = 0;
    }

    /// Forgets what is held for longer than [`CONTENTS_S`].
    pub(super) fn end(&self, now: i64) {
        self.held().end(now);
    }

    /// How many are held, and their bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let held = self.held();
        (held.by_slot.values().filter(|kept| kept.bytes > 0).count(), held.bytes)
    }
}

impl Held {
    fn forget(&mut self, slot: SlotId) {
        if let Some(kept) = self.by_slot.remove(&slot) {
            self.bytes -= kept.bytes;
        }
    }

    fn end(&mut self, now: i64) {
        if std::mem::replace(&mut self.looked, now) == now {
            return;
        }
        let held = |kept: &Kept| (0..CONTENTS_S).contains(&(now - kept.since));
        let ended: Vec<_> =
            self.by_slot.iter().filter(|(_, kept)| !held(kept)).map(|(slot, _)| *slot).collect();
        ended.into_iter().for_each(|slot| self.forget(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_the_bound_and_the_oldest_goes() {
        let (contents, each) = (Contents::default(), CONTENTS_BYTES_MAX / 4);
        for slot in 0..20 {
            let entry = contents.entry(slot, 0);
            assert!(contents.keep(slot, &entry, each));
            assert!(contents.size().1 <= CONTENTS_BYTES_MAX);
        }
        let held = contents.held();
        let mut slots: Vec<_> = held.by_slot.keys().copied().collect();
        slots.sort_unstable();
        assert_eq!(slots, [16, 17, 18, 19]);
        drop(held);
        let entry = contents.entry(20, 0);
        assert!(!contents.keep(20, &entry, CONTENTS_BYTES_MAX + 1), "larger than all of it");
    }

    #[test]
    fn nothing_is_held_for_longer_than_its_time() {
        let contents = Contents::default();
        let entry = contents.entry(1, 10);
        assert!(contents.keep(1, &entry, 100));
        contents.end(10 + CONTENTS_S - 1);
        assert_eq!(contents.size(), (1, 100));
        contents.end(10 + CONTENTS_S);
        assert_eq!(contents.size(), (0, 0));
        assert!(!contents.keep(1, &entry, 100), "of what is forgotten nothing is kept");
    }
}
