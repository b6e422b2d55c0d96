//! Alerts by their last change, newest first: an index over the audit log, kept by the store itself
//! with each commit, so that no use case can forget it.

use super::group::Tx;
use super::open::for_each;
use super::schema::{Copies, LastChange, LastChanges, Meta, Own, Recent, RecentAlert, Tombstones};
use super::table::key_bytes;
use super::{CommitError, Committed, IndexKey, Store, StoreError};
use crate::audit::{Changed, Entry, Event, Operation};
use crate::id::{AlertId, Timestamp};

/// Key in [`Meta`] of the entry of the log up to which the index was made, for stores that were
/// made before it; eight big-endian bytes.
pub(super) const INDEXED_KEY: &str = "recent";

/// Its value once the index is whole: from then on each commit keeps it.
pub(super) const WHOLE: u64 = u64::MAX;

/// Entries of the log that are indexed in one commit: some flushes for a large log, and little
/// memory.
const ENTRIES_AT_ONCE: usize = 2048;

/// What an entry says of an alert, as far as the index needs it.
pub(super) struct Touched<'a> {
    entry: u64,
    at: Timestamp,
    kind: Changed,
    alert: &'a AlertId,
    actor: &'a str,
    case: Option<IndexKey>,
}

/// Which of the alerts an index runs over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facet {
    /// Live ones, own and copies.
    Live,
    /// Erased ones.
    Erased,
    /// Live ones that this user created.
    LiveBy(String),
    /// Erased ones that this user created.
    ErasedBy(String),
    /// Live ones of this case ([`Store::case_key`]).
    Case(IndexKey),
}

impl Store {
    /// Where the index holds the alerts of a facet.
    pub fn facet(&self, facet: &Facet) -> IndexKey {
        match facet {
            Facet::Live => group_key(self, true, None),
            Facet::Erased => group_key(self, false, None),
            Facet::LiveBy(user) => group_key(self, true, Some(self.user_key(user))),
            Facet::ErasedBy(user) => group_key(self, false, Some(self.user_key(user))),
            Facet::Case(case) => *case,
        }
    }

    /// Keyed hash of a user's name, as the index holds it.
    pub fn user_key(&self, user: &str) -> IndexKey {
        self.index_key(&[b"recent by\0", user.as_bytes()].concat())
    }

    /// Keyed hash of the case of an alert; upper and lower case are one.
    pub fn case_key(&self, case_ref: &str) -> IndexKey {
        let case = case_ref.trim().to_lowercase();
        self.index_key(&[b"recent case\0", case.as_bytes()].concat())
    }

    /// Alerts of a facet whose last change stands before entry `before` of the log, newest first,
    /// at most `limit`, each with that entry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn recent(
        &self,
        facet: &Facet,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RecentAlert)>, StoreError> {
        let Some(newest) = before.checked_sub(1) else { return Ok(vec![]) };
        let within = self.facet(facet);
        let from = (within, backwards(newest));
        let found = self.scan::<Recent>(&within, Some(&from), limit)?;
        Ok(found.into_iter().map(|((_, place), alert)| (backwards(place), alert)).collect())
    }

    /// Makes the index of a store that was made before there was one, from its log; `case_of` tells
    /// the case of an alert that is held. A store whose index is whole is left as it is.
    ///
    /// # Errors
    /// When the log cannot be read, or the index not written.
    pub fn index_recent(
        &self,
        case_of: impl Fn(&AlertId) -> Option<IndexKey>,
    ) -> Result<(), StoreError> {
        let mut from = self.indexed_to()?;
        if from == WHOLE {
            return Ok(());
        }
        tracing::info!(
            "the store has no index of recent changes yet: it is made once, from the log"
        );
        loop {
            let end = self.log().size();
            let leaves = self.leaves(from, ENTRIES_AT_ONCE)?;
            let ended = leaves.last().is_none_or(|(index, _)| index + 1 >= end);
            from = if ended { WHOLE } else { from + leaves.len() as u64 };
            let entries = leaves.iter().filter_map(|(_, leaf)| Entry::parse(leaf).ok());
            let changes = entries.filter(|entry| Changed::of(&entry.kind).is_some());
            let with_case = |entry: Entry| {
                let case = entry.alert.as_ref().and_then(&case_of);
                (entry, case)
            };
            let changes: Vec<_> = changes.map(with_case).collect();
            self.commit_blocking(move |tx| {
                for (entry, case) in &changes {
                    if let Some(touched) = Touched::by_entry(entry, *case) {
                        tx.index(&touched)?;
                    }
                }
                tx.put::<Meta>(&INDEXED_KEY.to_owned(), &from.to_be_bytes().to_vec());
                let event = Event::new(Operation::Key, "store.indexed", "node");
                Ok::<_, StoreError>(Committed::new((), event.with("changes", changes.len())))
            })
            .map_err(CommitError::flatten)?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Where the index and the records disagree, by alert. A store of an earlier version has no
    /// index before its first start.
    pub(super) fn list_problems(&self) -> Result<Vec<(AlertId, String)>, StoreError> {
        if self.indexed_to()? != WHOLE {
            return Ok(vec![]);
        }
        let live = self.facet(&Facet::Live);
        let listed = |id: &AlertId| {
            let change = self.get::<LastChanges>(id).ok().flatten();
            let change = change.filter(|change| change.live)?;
            let place = self.get::<Recent>(&(live, backwards(change.entry))).ok().flatten()?;
            (place.id == *id).then_some(change.entry)
        };
        let mut problems = Vec::new();
        let mut missing = |id: AlertId| {
            if listed(&id).is_none() {
                problems.push((id.clone(), format!("{id} is missing in the list")));
            }
        };
        for_each::<Own>(self, |id, _| missing(id))?;
        for_each::<Copies>(self, |id, _| missing(id))?;
        for_each::<Recent>(self, |(facet, place), RecentAlert { id, .. }| {
            let held = self.get::<Own>(&id).is_ok_and(|own| own.is_some())
                || self.get::<Copies>(&id).is_ok_and(|copy| copy.is_some());
            if facet == live && (!held || listed(&id) != Some(backwards(place))) {
                problems.push((id.clone(), format!("the list names {id} where it is not")));
            }
        })?;
        Ok(problems)
    }

    /// Entry of the log up to which the index was made; [`WHOLE`] once it is kept.
    pub(super) fn indexed_to(&self) -> Result<u64, StoreError> {
        let held = self.get::<Meta>(&INDEXED_KEY.to_owned())?.unwrap_or_default();
        Ok(held.try_into().map_or(0, u64::from_be_bytes))
    }
}

/// Later entries first.
fn backwards(place: u64) -> u64 {
    u64::MAX - place
}

/// Where the live or erased alerts lie, all or those of a user.
fn group_key(keys: &impl IndexKeys, live: bool, by: Option<IndexKey>) -> IndexKey {
    let name: &[u8] = if live { b"recent live\0" } else { b"recent erased\0" };
    keys.index_key(&[name, by.as_ref().map_or(&[], |by| by.as_slice())].concat())
}

/// Whoever makes keyed hashes.
trait IndexKeys {
    fn index_key(&self, key: &[u8]) -> IndexKey;
}

impl IndexKeys for Store {
    fn index_key(&self, key: &[u8]) -> IndexKey {
        Self::index_key(self, key)
    }
}

impl IndexKeys for Tx<'_> {
    fn index_key(&self, key: &[u8]) -> IndexKey {
        Self::index_key(self, key)
    }
}

impl<'a> Touched<'a> {
    /// What an event says that becomes entry `entry`.
    pub(super) fn by_event(event: &'a Event, entry: u64, at: Timestamp) -> Option<Self> {
        let (alert, actor, case) = event.about()?;
        Some(Self { entry, at, kind: Changed::of(event.kind())?, alert, actor, case })
    }

    fn by_entry(entry: &'a Entry, case: Option<IndexKey>) -> Option<Self> {
        let kind = Changed::of(&entry.kind)?;
        let (alert, actor) = (entry.alert.as_ref()?, entry.actor.as_str());
        Some(Self { entry: entry.index, at: entry.at, kind, alert, actor, case })
    }
}

impl Tx<'_> {
    /// Puts an alert where its last change belongs. Whether it is live is read from its records,
    /// not from the event.
    pub(super) fn index(&mut self, touched: &Touched<'_>) -> Result<(), StoreError> {
        let id = touched.alert;
        let before = self.get::<LastChanges>(id)?;
        if before.as_ref().is_some_and(|before| before.entry > touched.entry) {
            return Ok(());
        }
        if let Some(before) = &before {
            for facet in self.facets(before) {
                self.delete::<Recent>(&(facet, backwards(before.entry)));
            }
        }
        let live = self.holds(&key_bytes::<Own>(id))? || self.holds(&key_bytes::<Copies>(id))?;
        if !live && !self.holds(&key_bytes::<Tombstones>(id))? {
            self.delete::<LastChanges>(id);
            return Ok(());
        }
        let by = match touched.kind {
            Changed::Created => {
                Some(self.index_key(&[b"recent by\0", touched.actor.as_bytes()].concat()))
            }
            _ => before.and_then(|before| before.by),
        };
        let case = touched.case.filter(|_| live);
        let change = LastChange { entry: touched.entry, live, by, case };
        for facet in self.facets(&change) {
            let alert = RecentAlert { id: id.clone(), at: touched.at };
            self.put::<Recent>(&(facet, backwards(touched.entry)), &alert);
        }
        self.put::<LastChanges>(id, &change);
        Ok(())
    }

    fn facets(&self, change: &LastChange) -> impl Iterator<Item = IndexKey> + use<> {
        let all = group_key(self, change.live, None);
        let by = change.by.map(|by| group_key(self, change.live, Some(by)));
        [Some(all), by, change.case].into_iter().flatten()
    }
}
