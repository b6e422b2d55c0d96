//! Compacting: what is held is written anew beside the store, without what erased alerts left, and
//! takes the store's place in one move. Off-line; killed at any point, the next run goes on. Keys
//! stay where they are, in slots that are overwritten in place: a copy of them elsewhere would
//! outlive the erasing.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::cells::{CellFile, Taken};
use super::copy_place::{COPY, FOLDER, OF, WHOLE, sync, take_place, write_synced};
use super::database::{Database, Writes};
use super::log_index::SEGMENT;
use super::open::{for_each, named};
use super::schema::{
    Copies, HeldCopy, LogIndex, Notices, Own, OwnAlert, SealedToken, SlotId, associated_data,
};
use super::table::{decode_record, key_bytes};
use super::{CommitError, Committed, Store, StoreError, Summary, Table};
use crate::alert;
use crate::audit::{Event, Operation, Tree};
use crate::id::AlertId;
use bytes::Bytes;

/// Records written in one flush.
const AT_ONCE: usize = 1024;

/// How far compacting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacting {
    /// Records that are written.
    pub done: u64,
    /// Records that there are.
    pub total: u64,
    /// Bytes of disk that the copy may take.
    pub needed: u64,
}

impl Store {
    /// Compacts a store that nobody else uses, and closes it. `told` hears of it before the first
    /// record, and after each flush. Returns the bytes that it took before, and takes now.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] where the disk has no room for the copy; when an alert can't be read,
    /// or the disk fails.
    pub fn compact(self, told: &mut dyn FnMut(Compacting)) -> Result<(u64, u64), StoreError> {
        let folder = self.0.shared.folder.clone();
        let before = bytes_of(&folder)?;
        self.copy(&folder.join(FOLDER), told)?;
        self.close();
        // The old database stays locked until the new one is in its place.
        take_place(&folder)?;
        drop(self);
        Ok((before, bytes_of(&folder)?))
    }

    fn copy(&self, to: &Path, told: &mut dyn FnMut(Compacting)) -> Result<(), StoreError> {
        let needed = self.bytes_held()?;
        let mut copy = match self.begun(to)? {
            Some(copy) => copy,
            None => self.begin(to, needed)?,
        };
        let database = self.0.shared.database()?;
        let total = database.newest_from(&[], &[]).count() as u64;
        let mut done = copy.database.newest_from(&[], &[]).count() as u64;
        told(Compacting { done, total, needed });
        let mut start = match copy.database.newest_last(&[])? {
            Some((last, _)) => [last.as_ref(), &[0]].concat(),
            None => vec![],
        };
        // The index comes last, whatever its prefix.
        let mut rest = copy.database.newest_last(&[LogIndex::PREFIX])?.is_none();
        while rest {
            let page = database.newest_from(&start, &[]).take(AT_ONCE);
            let page = page.collect::<Result<Vec<_>, _>>()?;
            if let Some((last, _)) = page.last() {
                start = [last.as_ref(), &[0]].concat();
            }
            rest = page.len() == AT_ONCE;
            done += page.len() as u64;
            for (key, value) in page.into_iter().filter(|(key, _)| !is_index(key)) {
                self.copy_record(&mut copy, &key, &value)?;
            }
            copy.flush()?;
            told(Compacting { done, total, needed });
        }
        let (written, held) = (records(&copy.database)?, records(&database)?);
        if written != held {
            let what = format!("{written} of {held} records were copied");
            return Err(StoreError::Corrupt(what));
        }
        self.index(&mut copy)?;
        told(Compacting { done: total, total, needed });
        copy.finish(to)
    }

    /// Makes the index of the log anew.
    fn index(&self, copy: &mut Copy) -> Result<(), StoreError> {
        for segment in 0..self.log().size() / SEGMENT {
            for (key, postings) in self.segment_index(segment)? {
                let value = postcard::to_allocvec(&postings)?;
                copy.writes.insert(key_bytes::<LogIndex>(&key), Some(value));
            }
            copy.flush()?;
        }
        Ok(())
    }

    /// A copy of the present state that was begun and not ended.
    fn begun(&self, to: &Path) -> Result<Option<Copy>, StoreError> {
        if fs::read_to_string(to.join(OF)).ok() != Some(self.state()) {
            return Ok(None);
        }
        let copy = Copy::open(to, self.0.shared.cache_bytes)?;
        let held = named(&copy.database, &copy.cells, &self.0.shared.old_cells)?;
        copy.cells.release_all_but(held.runs);
        Ok(Some(copy))
    }

    /// What is written down before the first record: that it is compacted, and from which state.
    fn begin(&self, to: &Path, needed: u64) -> Result<Copy, StoreError> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        let free = self.disk_free_bytes();
        if free < needed {
            return Err(StoreError::NoRoom { needed, free });
        }
        let event = Event::new(Operation::Key, "store.compacted", "node");
        self.commit_blocking(move |_| Ok::<_, StoreError>(Committed::new((), event)))
            .map_err(CommitError::flatten)?;
        DirBuilder::new().mode(0o700).create(to)?;
        let copy = Copy::open(to, self.0.shared.cache_bytes)?;
        write_synced(to, OF, &self.state())?;
        sync(&self.0.shared.folder)?;
        Ok(copy)
    }

    /// Names the state of the whole store: nothing is written without an entry of the log.
    fn state(&self) -> String {
        let log = self.log();
        format!("{} {}\n", log.size(), log.root())
    }

    /// Bytes that the copy may take: the database as it is, and the tokens that are held.
    fn bytes_held(&self) -> Result<u64, StoreError> {
        let mut bytes = bytes_of(&self.0.shared.folder.join("db"))?;
        let mut add = |token: SealedToken| {
            bytes += match token {
                SealedToken::Run { length, .. } | SealedToken::Cell(length) => u64::from(length),
                SealedToken::Inline(sealed) => sealed.len() as u64,
            };
        };
        for_each::<Own>(self, |_, own| add(own.token))?;
        for_each::<Copies>(self, |_, copy| add(copy.token))?;
        for_each::<Notices>(self, |_, notice| add(notice.token))?;
        Ok(bytes)
    }

    fn copy_record(&self, copy: &mut Copy, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let value = match key.first() {
            Some(&Own::PREFIX) => {
                let (id, own) = decode_record::<Own>(key, value)?;
                let token = self.moved(copy, true, &id, own.slot, &own.token)?;
                postcard::to_allocvec(&OwnAlert { token, ..own })?
            }
            Some(&Copies::PREFIX) => {
                let (id, held) = decode_record::<Copies>(key, value)?;
                let token = self.moved(copy, false, &id, held.slot, &held.token)?;
                postcard::to_allocvec(&HeldCopy { token, ..held })?
            }
            Some(&Notices::PREFIX) => {
                let mut notice = decode_record::<Notices>(key, value)?.1;
                notice.token = self.moved_run(copy, &notice.token)?;
                if let Some(read) = &mut notice.acknowledged {
                    read.token = self.moved_run(copy, &read.token)?;
                }
                postcard::to_allocvec(&notice)?
            }
            _ => value.to_vec(),
        };
        copy.writes.insert(key.to_vec(), Some(value));
        Ok(())
    }

    /// Where a token lies in the copy: as it was sealed; sealed anew, under the same key, where an
    /// earlier version did it.
    fn moved(
        &self,
        copy: &mut Copy,
        own: bool,
        id: &AlertId,
        slot: SlotId,
        token: &SealedToken,
    ) -> Result<SealedToken, StoreError> {
        if token.run().is_some() {
            return self.moved_run(copy, token);
        }
        let (shared, about) = (&self.0.shared, associated_data(own, id));
        let text = shared.unseal(slot, &about, token)?;
        let view = std::str::from_utf8(&text).ok().and_then(|text| alert::read(text).ok());
        let unreadable = || StoreError::Corrupt(format!("the token of {id} can't be read"));
        let summary = view.as_ref().map(Summary::of).ok_or_else(unreadable)?;
        let slot = shared.slots.read(slot, &shared.keys)?;
        Self::keep(copy, self.seal(&slot, &about, summary, &text))
    }

    /// As it was sealed; only a token that lies in cells is moved.
    fn moved_run(&self, copy: &mut Copy, token: &SealedToken) -> Result<SealedToken, StoreError> {
        match token {
            SealedToken::Run { first, length } => {
                let sealed = self.0.shared.cells.read(*first, 0, *length as usize)?;
                Self::keep(copy, sealed.into())
            }
            SealedToken::Inline(_) => Ok(token.clone()),
            SealedToken::Cell(_) => {
                Err(StoreError::Corrupt("a token lies where none of its kind does".to_owned()))
            }
        }
    }

    fn keep(copy: &mut Copy, sealed: Bytes) -> Result<SealedToken, StoreError> {
        let length = u32::try_from(sealed.len()).map_err(|_| StoreError::TooLarge(sealed.len()))?;
        let taken = copy.cells.take(length);
        let first = taken.first();
        copy.kept.push((taken, sealed));
        Ok(SealedToken::Run { first, length })
    }
}

fn is_index(key: &[u8]) -> bool {
    key.first() == Some(&LogIndex::PREFIX)
}

/// Records of a database, without the index of the log.
fn records(database: &Database) -> Result<u64, StoreError> {
    let mut records = 0;
    for record in database.newest_from(&[], &[]) {
        records += u64::from(!is_index(&record?.0));
    }
    Ok(records)
}

/// A copy that is being written.
struct Copy {
    database: Database,
    cells: CellFile,
    writes: Writes,
    kept: Vec<(Taken, Bytes)>,
}

impl Copy {
    fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let database = Database::open(&folder.join("db"), cache_bytes)?;
        write_synced(&folder.join("db"), COPY, "")?;
        let cells = CellFile::open(&folder.join("cells"))?;
        Ok(Self { database, cells, writes: Writes::new(), kept: vec![] })
    }

    /// Cells first, then the records that name them.
    fn flush(&mut self) -> Result<(), StoreError> {
        self.cells.keep(&std::mem::take(&mut self.kept))?;
        self.database.apply(std::mem::take(&mut self.writes), vec![], Tree::default())?;
        self.database.flush()?;
        self.database.show_next();
        Ok(())
    }

    fn finish(self, folder: &Path) -> Result<(), StoreError> {
        self.cells.trim()?;
        self.database.sync()?;
        drop(self);
        write_synced(folder, WHOLE, "")
    }
}

/// Bytes that files below a folder take on the disk.
fn bytes_of(folder: &Path) -> Result<u64, StoreError> {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut folders): (u64, Vec<PathBuf>) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder)? {
            let file = file?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                folders.push(file.path());
            } else {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::copy_place::STEPS;
    use super::*;
    use crate::id::{Clock, Entropy, Secret};
    use crate::store::{Change, Meta, StoreOptions, Upgrade};

    fn open(folder: &Path) -> Store {
        let owner = "dk.politi".parse().unwrap();
        let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min: 0 };
        let (key, sources) = (Secret::new([7; 32]), (Clock::system(), Entropy::os()));
        Store::open_with(folder, &owner, &key, &options, sources, Upgrade::AtStart).unwrap()
    }

    const RECORDS: u64 = 3000;

    fn fill(store: &Store) {
        for first in (0..RECORDS).step_by(500) {
            let written = store.commit_blocking(move |tx| {
                for number in first..first + 500 {
                    tx.put::<Meta>(&format!("number {number}"), &number.to_be_bytes().to_vec());
                }
                tx.announce(Change::Feed);
                let event = |_| Event::new(Operation::Key, "test", "test");
                let first = Committed::new((), event(0));
                Ok::<_, StoreError>((1..1000).map(event).fold(first, Committed::and))
            });
            written.unwrap();
        }
    }

    fn whole(folder: &Path) {
        let store = open(folder);
        for number in 0..RECORDS {
            let held = store.get::<Meta>(&format!("number {number}")).unwrap();
            assert_eq!(held, Some(number.to_be_bytes().to_vec()), "{number}");
        }
        let key = crate::jose::SigningKey::generate(&Entropy::os()).public();
        assert_eq!(store.fsck(&key).unwrap().problems, vec![]);
        assert!(!folder.join(FOLDER).exists());
        fill(&store);
        store.close();
    }

    /// It breaks off at every word that it says, then after every step of the move.
    #[test]
    fn it_goes_on_wherever_it_broke_off() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let store = open(folder);
        fill(&store);
        store.close();
        drop(store);
        let mut begun = vec![];
        for words in 1.. {
            let (store, mut heard) = (open(folder), 0);
            let mut told = |at: Compacting| {
                heard += 1;
                if heard == 1 {
                    begun.push(at.done);
                }
                assert!(heard < words, "it breaks off");
            };
            let to = folder.join(FOLDER);
            let copied = catch_unwind(AssertUnwindSafe(|| store.copy(&to, &mut told)));
            store.close();
            if copied.is_ok() {
                break;
            }
        }
        assert!(begun.last() > Some(&0), "the last run went on from where another was: {begun:?}");
        let copied = folder.join(FOLDER);
        for steps in 0..=STEPS.len() {
            STEPS.iter().take(steps).for_each(|step| step(folder, &copied).unwrap());
            whole(folder);
            let store = open(folder);
            store.copy(&copied, &mut |_| {}).unwrap();
            store.close();
        }
    }

    #[test]
    fn a_copy_of_another_state_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store);
        let to = folder.path().join(FOLDER);
        store.copy(&to, &mut |_| {}).unwrap();
        fs::remove_file(to.join(WHOLE)).unwrap();
        fill(&store);
        let mut begun = None;
        let mut told = |at: Compacting| {
            begun.get_or_insert(at.done);
        };
        store.copy(&to, &mut told).unwrap();
        assert_eq!(begun, Some(0));
        store.close();
        drop(store);
        whole(folder.path());
    }
}
