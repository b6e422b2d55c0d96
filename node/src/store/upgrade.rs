//! Upgrades: numbered steps from the records of an earlier version to those of this one. A step
//! works in bounded batches, and each batch is one commit with how far the step has come: after a
//! kill at any point the next run goes on from there. ARCHITECTURE.md says how a step is added.

mod feed;
mod log_index;
mod program;
mod recent;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::schema::Meta;
use super::table::key_bytes;
use super::{COUNTED, CommitError, Committed, Read, Scan, Store, StoreError, Table, Tx};
use crate::audit::{Event, Operation};
use crate::id::printable;

/// What leads from the first schema to that of this version: the first step makes schema 2. A step
/// that was released stays as it is, with the shapes that it reads.
const STEPS: [Step; 4] = [program::STEP, recent::STEP, log_index::STEP, feed::STEP];

/// The schema of stores that were made before there were steps.
const FIRST_SCHEMA: u32 = 1;

/// Version of the tables; a store with a later one is refused.
pub const SCHEMA_VERSION: u32 = FIRST_SCHEMA + STEPS.len() as u32;

/// Records converted in one commit: a flush for each batch costs little beside them, and a batch
/// takes little memory.
pub const UPGRADE_RECORDS_AT_ONCE: usize = 1024;

/// Key in [`Meta`] of the schema, four big-endian bytes. This and [`PROGRAM_KEY`] are read before
/// anything else is known of a store, so no step changes them.
pub(super) const SCHEMA_KEY: &str = "schema";

/// Key in [`Meta`] of the version of Entente that opened the store last, as text.
pub(super) const PROGRAM_KEY: &str = "program";

/// Key in [`Meta`] of how far the step under way has come: a [`Place`].
const PLACE_KEY: &str = "upgrade";

/// What may be done to a store of an earlier version when it is opened.
pub enum Upgrade<'a> {
    /// Nothing: it is refused.
    No,
    /// The quick steps; a store that needs a slow one is refused.
    AtStart,
    /// Every step. `told` hears of each step before its first write, and after every batch.
    Whole {
        /// Records in one batch; [`UPGRADE_RECORDS_AT_ONCE`] where nothing speaks against it.
        records_at_once: usize,
        /// Is told how far it has come.
        told: &'a mut dyn FnMut(&Progress),
    },
}

/// How far an upgrade has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The version of Entente that opened the store last; empty where it did not say so yet.
    pub program: String,
    /// Number of the step under way, from 1.
    pub step: usize,
    /// Steps in this upgrade.
    pub steps: usize,
    /// What the step does.
    pub what: &'static str,
    /// Records that it has gone through.
    pub done: u64,
    /// Records that it goes through.
    pub total: u64,
}

/// One step, from one schema to the next.
struct Step {
    /// What it does, as people are told: "the list of recent changes is made from the log".
    what: &'static str,
    pace: Pace,
    /// Does it, in the same order whenever it is called.
    work: fn(&mut Work<'_>) -> Result<(), StoreError>,
}

/// How long a step takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Less than a second, whatever the store holds: a start does it.
    Quick,
    /// It grows with the store: people choose when.
    Slow,
}

/// How far a step has come, durable with each of its batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The schema that the step makes.
    schema: u32,
    /// Passes that are done.
    passes: u32,
    /// Where the present pass goes on: what its last batch said.
    after: Vec<u8>,
    /// Records that the present pass has gone through.
    done: u64,
    /// Records that it goes through.
    total: u64,
}

/// A batch of a pass.
struct Batch {
    /// Writes it.
    write: Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send>,
    /// Where the next one begins.
    after: Vec<u8>,
    /// Records in it.
    records: u64,
}

/// Brings a store to the schema of this version, and writes down which version opened it.
pub(super) fn run(store: &Store, upgrade: Upgrade<'_>) -> Result<(), StoreError> {
    run_steps(store, upgrade, &STEPS)
}

fn run_steps(store: &Store, upgrade: Upgrade<'_>, steps: &[Step]) -> Result<(), StoreError> {
    let held = meta(store, SCHEMA_KEY)?.try_into().map_or(0, u32::from_be_bytes);
    let program = String::from_utf8_lossy(&meta(store, PROGRAM_KEY)?).into_owned();
    let pending = steps.iter().zip(FIRST_SCHEMA + 1..).filter(|(_, schema)| *schema > held);
    let pending: Vec<_> = pending.collect();
    let slow = pending.iter().any(|(step, _)| step.pace == Pace::Slow);
    let mut nobody = |_: &Progress| {};
    let (records_at_once, told): (_, &mut dyn FnMut(&Progress)) = match upgrade {
        Upgrade::No if pending.is_empty() => return Ok(()),
        Upgrade::No => return Err(StoreError::Older { slow }),
        Upgrade::AtStart if slow => return Err(StoreError::Older { slow }),
        Upgrade::AtStart => (UPGRADE_RECORDS_AT_ONCE, &mut nobody),
        Upgrade::Whole { records_at_once, told } => (records_at_once, told),
    };
    for (number, (step, schema)) in (1..).zip(&pending) {
        let held = meta(store, PLACE_KEY)?;
        let place = postcard::from_bytes::<Place>(&held).ok().filter(|at| at.schema == *schema);
        let place = place.unwrap_or_else(|| Place { schema: *schema, ..Place::default() });
        let progress = Progress {
            program: printable(&program),
            step: number,
            steps: pending.len(),
            what: step.what,
            done: 0,
            total: 0,
        };
        told(&progress);
        let (slow, told) = (step.pace == Pace::Slow, &mut *told);
        let mut work = Work { store, records_at_once, slow, passes: 0, place, progress, told };
        (step.work)(&mut work)?;
        work.finish()?;
    }
    name_program(store, &program)
}

/// Which version of Entente opens the store: a later schema is refused with its name.
fn name_program(store: &Store, held: &str) -> Result<(), StoreError> {
    if held == crate::VERSION {
        return Ok(());
    }
    let before = held.to_owned();
    commit(store, move |tx| {
        put_meta(tx, PROGRAM_KEY, crate::VERSION.as_bytes().to_vec());
        let event = Event::new(Operation::Key, "store.program", "node");
        Ok(event.with("before", before).with("now", crate::VERSION))
    })
}

/// A step under way.
struct Work<'a> {
    store: &'a Store,
    records_at_once: usize,
    /// It may fill the disk, so it ends where there is no room, and may move counted tables.
    slow: bool,
    /// Passes begun in this process.
    passes: u32,
    /// As it is durable.
    place: Place,
    progress: Progress,
    told: &'a mut dyn FnMut(&Progress),
}

/// Writes what becomes of one old record: its new one, under the same key or in another table (a
/// table whose keys change gets a new prefix, and the old record is deleted).
type Convert<T> = fn(&mut Tx<'_>, <T as Table>::Key, <T as Table>::Value) -> Result<(), StoreError>;

impl Work<'_> {
    /// A pass over a table, as it was: every record is converted once, in the order of the keys.
    fn each<T>(&mut self, convert: Convert<T>) -> Result<(), StoreError>
    where
        T: Table + 'static,
        T::Key: Send,
    {
        let total = self.store.records_in::<T>()?;
        self.pass(total, move |store, after, limit| {
            let page = store.scan(Scan::<T>::all().after_bytes(after), limit)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            let (after, records) = (key_bytes::<T>(last), page.len() as u64);
            let write = move |tx: &mut Tx<'_>| {
                page.into_iter().try_for_each(|(key, value)| convert(tx, key, value))
            };
            Ok(Some(Batch { write: Box::new(write), after, records }))
        })
    }

    /// A pass over anything: `next` prepares the batch that comes after a place (empty: the first),
    /// with at most so many records; `None` when nothing is left. A pass that a process before this
    /// one finished is passed over.
    fn pass(
        &mut self,
        total: u64,
        mut next: impl FnMut(&Store, &[u8], usize) -> Result<Option<Batch>, StoreError>,
    ) -> Result<(), StoreError> {
        if !self.begin_pass() {
            return Ok(());
        }
        if self.place.done == 0 {
            self.place.total = total;
        }
        (self.progress.done, self.progress.total) = (self.place.done, self.place.total);
        (self.told)(&self.progress);
        while let Some(batch) = next(self.store, &self.place.after, self.records_at_once)? {
            let Batch { write, after, records } = batch;
            let place = Place { after, done: self.place.done + records, ..self.place.clone() };
            self.enter(place, records, write)?;
        }
        self.end_pass(|_| Ok(()))
    }

    /// A pass of one write.
    fn once(&mut self, write: fn(&mut Tx<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.begin_pass() { self.end_pass(write) } else { Ok(()) }
    }

    /// Whether the next pass is still to be done.
    fn begin_pass(&mut self) -> bool {
        self.passes += 1;
        self.passes > self.place.passes
    }

    fn end_pass(
        &mut self,
        write: fn(&mut Tx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let place = Place { passes: self.passes, schema: self.place.schema, ..Place::default() };
        self.enter(place, 0, write)
    }

    fn enter(
        &mut self,
        place: Place,
        records: u64,
        write: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        if self.slow && !self.store.room() {
            return Err(StoreError::Full);
        }
        let held = postcard::to_allocvec(&place)?;
        let schema = place.schema;
        commit(self.store, move |tx| {
            write(tx)?;
            put_meta(tx, PLACE_KEY, held);
            let event = Event::new(Operation::Key, "store.upgrading", "node");
            Ok(event.with("schema", schema).with("records", records))
        })?;
        self.progress.done += records;
        self.place = place;
        (self.told)(&self.progress);
        Ok(())
    }

    /// The step is done: the store has the next schema. Counted tables are counted anew, since a
    /// step may have moved them.
    fn finish(self) -> Result<(), StoreError> {
        let (schema, what) = (self.place.schema, self.progress.what);
        let counted = COUNTED.iter().filter(|_| self.slow);
        let counts = counted.map(|prefix| Ok((*prefix, self.store.records_with(*prefix)?)));
        let counts = counts.collect::<Result<Vec<_>, StoreError>>()?;
        commit(self.store, move |tx| {
            for (prefix, count) in counts {
                tx.set_count(prefix, count);
            }
            put_meta(tx, SCHEMA_KEY, schema.to_be_bytes().to_vec());
            tx.delete::<Meta>(&PLACE_KEY.to_owned());
            let event = Event::new(Operation::Key, "store.upgraded", "node");
            Ok(event.with("schema", schema).with("what", what))
        })?;
        tracing::info!(schema, "the store was upgraded: {what}");
        Ok(())
    }
}

fn commit(
    store: &Store,
    f: impl FnOnce(&mut Tx<'_>) -> Result<Event, StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let committed = store.commit_blocking(move |tx| Ok(Committed::new((), f(tx)?)));
    committed.map_err(CommitError::flatten)
}

fn meta(store: &Store, name: &str) -> Result<Vec<u8>, StoreError> {
    Ok(store.get::<Meta>(&name.to_owned())?.unwrap_or_default())
}

fn put_meta(tx: &mut Tx<'_>, name: &str, value: Vec<u8>) {
    tx.put::<Meta>(&name.to_owned(), &value);
}

impl Store {
    fn records_in<T: Table>(&self) -> Result<u64, StoreError> {
        self.records_with(T::PREFIX)
    }

    fn records_with(&self, prefix: u8) -> Result<u64, StoreError> {
        let (database, mut count) = (self.0.shared.database()?, 0);
        for record in database.newest_from(&[prefix], &[prefix]) {
            record?;
            count += 1;
        }
        Ok(count)
    }
}
