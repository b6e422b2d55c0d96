//! Alerts by their last change, newest first: an index over the audit log, kept by the store itself
//! with each commit, so that no use case can forget it.

use super::group::Tx;
use super::open::for_each;
use super::schema::{Copies, LastChange, LastChanges, Own, Recent, RecentAlert, Tombstones};
use super::seal::Keys;
use super::table::key_bytes;
use super::{IndexKey, Read, Scan, Snapshot, Store, StoreError};
use crate::audit::{Changed, Entry, Event};
use crate::id::{AlertId, Timestamp};

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

impl Facet {
    /// Where the index holds its alerts.
    pub(super) fn key(&self, keys: &Keys) -> IndexKey {
        match self {
            Self::Live => group_key(keys, true, None),
            Self::Erased => group_key(keys, false, None),
            Self::LiveBy(user) => group_key(keys, true, Some(user_key(keys, user))),
            Self::ErasedBy(user) => group_key(keys, false, Some(user_key(keys, user))),
            Self::Case(case) => *case,
        }
    }
}

impl Snapshot<'_> {
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
        let facet = facet.key(self.keys());
        let found =
            self.scan(Scan::<Recent>::of(&facet).after(&(facet, backwards(before))), limit)?;
        Ok(found.into_iter().map(|((_, place), alert)| (backwards(place), alert)).collect())
    }
}

impl Store {
    /// Keyed hash of a user's name, as the index holds it.
    pub fn user_key(&self, user: &str) -> IndexKey {
        user_key(&self.0.shared.keys, user)
    }

    /// Keyed hash of the case of an alert; upper and lower case are one.
    pub fn case_key(&self, case_ref: &str) -> IndexKey {
        let case = case_ref.trim().to_lowercase();
        self.index_key(&[b"recent case\0", case.as_bytes()].concat())
    }

    /// Where the index and the records disagree, by alert.
    pub(super) fn list_problems(&self) -> Result<Vec<(AlertId, String)>, StoreError> {
        let live = Facet::Live.key(&self.0.shared.keys);
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
}

/// Later entries first.
pub(super) fn backwards(place: u64) -> u64 {
    u64::MAX - place
}

/// Where the live or erased alerts lie, all or those of a user.
fn group_key(keys: &Keys, live: bool, by: Option<IndexKey>) -> IndexKey {
    let name: &[u8] = if live { b"recent live\0" } else { b"recent erased\0" };
    keys.index_key(&[name, by.as_ref().map_or(&[], |by| by.as_slice())].concat())
}

fn user_key(keys: &Keys, user: &str) -> IndexKey {
    keys.index_key(&[b"recent by\0", user.as_bytes()].concat())
}

impl<'a> Touched<'a> {
    /// What an event says that becomes entry `entry`.
    pub(super) fn by_event(event: &'a Event, entry: u64, at: Timestamp) -> Option<Self> {
        let (alert, actor, case) = event.about()?;
        Some(Self { entry, at, kind: Changed::of(event.kind())?, alert, actor, case })
    }

    pub(super) fn by_entry(entry: &'a Entry, case: Option<IndexKey>) -> Option<Self> {
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
            Changed::Created => Some(user_key(self.keys(), touched.actor)),
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
        let all = group_key(self.keys(), change.live, None);
        let by = change.by.map(|by| group_key(self.keys(), change.live, Some(by)));
        [Some(all), by, change.case].into_iter().flatten()
    }
}
