//! The file of key slots, beside the database: once a slot is overwritten, nothing can open its
//! record.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::schema::SlotId;
use super::seal::{Keys, SEAL_BYTES};
use crate::id::{Entropy, Secret};

/// Bytes of a slot: a mark, the wrapped key, and padding, so that no slot crosses a sector.
const SLOT_BYTES: usize = 64;

/// Bytes of a wrapped key.
const WRAPPED_BYTES: usize = 32 + SEAL_BYTES;

/// Bytes by which the file grows: a thousand slots.
const PIECE_BYTES: usize = 1024 * SLOT_BYTES;

/// First byte of a slot that holds a key; an erased one is zero throughout.
const KEPT: u8 = 1;

/// A key slot and its key, which cannot be printed.
#[derive(Clone)]
pub struct Slot {
    id: SlotId,
    key: Secret<[u8; 32]>,
    place: Option<Arc<Place>>,
}

/// A place taken from the free ones; given back when the last slot that names it is dropped without
/// having been kept.
struct Place {
    id: SlotId,
    free: Arc<Mutex<Free>>,
    kept: AtomicBool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).ids.push(self.id);
        }
    }
}

impl Slot {
    /// Its place in the file.
    pub fn id(&self) -> SlotId {
        self.id
    }

    pub(super) fn key(&self) -> &Secret<[u8; 32]> {
        &self.key
    }
}

pub(super) struct SlotFile {
    file: File,
    /// A separate handle: the system reports a failed write once to each handle.
    erasing: File,
    free: Arc<Mutex<Free>>,
    /// Slots whose overwriting began and may not have succeeded, although reading them back may
    /// look as if it had.
    owed: Mutex<HashSet<SlotId>>,
}

struct Free {
    ids: Vec<SlotId>,
    next: SlotId,
}

impl SlotFile {
    /// Opens or makes the file; none of its places is used before [`Self::release_all_but`].
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let (file, erasing) = (options.open(path)?, options.open(path)?);
        let next = file.metadata()?.len().div_ceil(SLOT_BYTES as u64);
        let free = Arc::new(Mutex::new(Free { ids: vec![], next }));
        Ok(Self { file, erasing, free, owed: Mutex::default() })
    }

    /// Whether the file reaches to the end of this slot.
    pub(super) fn has(&self, id: SlotId) -> bool {
        self.file.metadata().is_ok_and(|file| offset(id + 1) <= file.len())
    }

    /// Whether the slot holds a key.
    pub(super) fn holds(&self, id: SlotId) -> bool {
        let mut mark = [0];
        self.file.read_exact_at(&mut mark, offset(id)).is_ok() && mark == [KEPT]
    }

    /// The slots that hold a key.
    pub(super) fn kept(&self) -> Result<HashSet<SlotId>, StoreError> {
        let length = self.file.metadata()?.len();
        let mut kept = HashSet::new();
        let mut piece = vec![0; PIECE_BYTES];
        for at in (0..length).step_by(PIECE_BYTES) {
            let rest = usize::try_from(length - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = piece.get_mut(..rest).unwrap_or_default();
            self.file.read_exact_at(piece, at)?;
            let slots = (at / SLOT_BYTES as u64..).zip(piece.chunks(SLOT_BYTES));
            kept.extend(slots.filter(|(_, slot)| slot.first() == Some(&KEPT)).map(|(id, _)| id));
        }
        Ok(kept)
    }

    /// A place that nothing uses, with a fresh key.
    pub(super) fn reserve(&self, entropy: &Entropy) -> Slot {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let id = free.ids.pop().unwrap_or(free.next);
        free.next = free.next.max(id + 1);
        let place = Place { id, free: Arc::clone(&self.free), kept: AtomicBool::new(false) };
        Slot { id, key: Secret::new(entropy.bytes()), place: Some(Arc::new(place)) }
    }

    pub(super) fn read(&self, id: SlotId, keys: &Keys) -> Result<Slot, StoreError> {
        let mut bytes = [0; SLOT_BYTES];
        self.file.read_exact_at(&mut bytes, offset(id))?;
        match bytes.split_first() {
            Some((&KEPT, rest)) => {
                let wrapped = rest.get(..WRAPPED_BYTES).unwrap_or_default();
                let key = keys.unwrap(id, wrapped).ok_or(StoreError::WrongKey)?;
                Ok(Slot { id, key, place: None })
            }
            _ => Err(StoreError::Erased),
        }
    }

    /// Writes new slots; durable when this returns.
    pub(super) fn keep(
        &self,
        kept: &[Slot],
        keys: &Keys,
        entropy: &Entropy,
    ) -> Result<(), StoreError> {
        if kept.is_empty() {
            return Ok(());
        }
        for place in kept.iter().filter_map(|slot| slot.place.as_ref()) {
            place.kept.store(true, Ordering::Relaxed);
        }
        self.grow(kept)?;
        for slot in kept {
            let mut bytes = vec![KEPT];
            bytes.extend(keys.wrap(slot.id, &slot.key, entropy));
            bytes.resize(SLOT_BYTES, 0);
            self.file.write_all_at(&bytes, offset(slot.id))?;
        }
        Ok(self.file.sync_data()?)
    }

    /// Lengthens the file by a whole piece: overwriting in place syncs ten times faster than
    /// appending.
    fn grow(&self, kept: &[Slot]) -> Result<(), StoreError> {
        let needed = kept.iter().map(|slot| offset(slot.id + 1)).max().unwrap_or_default();
        let length = self.file.metadata()?.len();
        if needed <= length {
            return Ok(());
        }
        let pieces = (needed - length).div_ceil(PIECE_BYTES as u64);
        for piece in 0..pieces {
            let at = length + piece * PIECE_BYTES as u64;
            self.file.write_all_at(&[0; PIECE_BYTES], at)?;
        }
        Ok(self.file.sync_all()?)
    }

    /// Overwrites slots; durable when this returns.
    pub(super) fn erase(&self, erased: &[SlotId]) -> Result<(), StoreError> {
        if erased.is_empty() {
            return Ok(());
        }
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).extend(erased);
        for id in erased {
            self.erasing.write_all_at(&[0; SLOT_BYTES], offset(*id))?;
        }
        self.erasing.sync_data()?;
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        for id in erased {
            owed.remove(id);
        }
        Ok(())
    }

    /// The slots that should have been overwritten but may not have been.
    pub(super) fn owed(&self) -> HashSet<SlotId> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Frees every place except those that records name, the lowest first, since cells lie in the
    /// same order as slots.
    pub(super) fn release_all_but(&self, named: &HashSet<SlotId>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.ids = (0..free.next).rev().filter(|id| !named.contains(id)).collect();
    }

    /// Frees erased slots, once the records that named them are gone for good.
    pub(super) fn release(&self, erased: Vec<SlotId>) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).ids.extend(erased);
    }
}

fn offset(id: SlotId) -> u64 {
    id * SLOT_BYTES as u64
}
