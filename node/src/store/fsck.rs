//! The whole store read once: every record decodes, opens and agrees with the others.

use std::collections::HashSet;

use super::open::for_each;
use super::schema::{
    Copies, Expiries, Feed, Imports, Ledger, Matches, Offers, Own, ParkedIn, ParkedOut, Peers,
    Policies, Proposals, StreamsIn, StreamsOut, Tombstones, Users, about,
};
use super::{IndexKey, Store, StoreError, Table};
use crate::id::AlertId;
use crate::jose::PublicKey;

/// Problems named at most: the first ones tell what happened.
const PROBLEMS_MAX: usize = 50;

/// What a check of the whole store found.
#[derive(Clone, Debug, Default)]
pub struct Fsck {
    /// Own alerts that open.
    pub own: u64,
    /// Received copies that open.
    pub copies: u64,
    /// Entries of the audit log.
    pub log: u64,
    /// What is wrong, by id; empty when all is well.
    pub problems: Vec<String>,
}

impl Fsck {
    fn problem(&mut self, what: impl std::fmt::Display) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what.to_string());
        }
    }
}

impl Store {
    /// Reads everything once; `log_key` signed the kept checkpoints.
    ///
    /// # Errors
    /// When a table cannot be read at all.
    pub fn fsck(&self, log_key: &PublicKey) -> Result<Fsck, StoreError> {
        let mut report = Fsck::default();
        let mut indexed: HashSet<(IndexKey, AlertId)> = HashSet::new();
        let mut feed: HashSet<(u64, AlertId)> = HashSet::new();
        for_each::<Own>(self, |id, own| {
            report.own += 1;
            if self.unseal(own.slot, &about(true, &id), &own.token).is_err() {
                report.problem(format!("own alert {id} does not open"));
            }
            indexed.extend(own.match_keys.iter().map(|key| (*key, id.clone())));
            feed.insert((own.feed, id));
        })?;
        for_each::<Copies>(self, |id, copy| {
            report.copies += 1;
            if self.unseal(copy.slot, &about(false, &id), &copy.token).is_err() {
                report.problem(format!("the copy of {id} does not open"));
            }
            indexed.extend(copy.match_keys.iter().map(|key| (*key, id.clone())));
        })?;
        for_each::<Matches>(self, |(key, id), _| {
            if !indexed.remove(&(key, id.clone())) {
                report.problem(format!("the index names {id}, which does not have that key"));
            }
        })?;
        for_each::<Feed>(self, |place, entry| {
            if !entry.withdrawn && !feed.remove(&(place, entry.alert.clone())) {
                report.problem(format!("place {place} of the feed names {}", entry.alert));
            }
        })?;
        indexed.iter().for_each(|(_, id)| report.problem(format!("{id} is missing in the index")));
        feed.iter().for_each(|(_, id)| report.problem(format!("{id} is missing in the feed")));
        self.read_the_rest(&mut report);
        match self.verify_log(log_key) {
            Ok(tree) => report.log = tree.size(),
            Err(error) => report.problem(error),
        }
        Ok(report)
    }

    fn read_the_rest(&self, report: &mut Fsck) {
        self.readable::<Tombstones>(report);
        self.readable::<Imports>(report);
        self.readable::<Peers>(report);
        self.readable::<StreamsOut>(report);
        self.readable::<StreamsIn>(report);
        self.readable::<Offers>(report);
        self.readable::<Ledger>(report);
        self.readable::<ParkedOut>(report);
        self.readable::<ParkedIn>(report);
        self.readable::<Expiries>(report);
        self.readable::<Policies>(report);
        self.readable::<Proposals>(report);
        self.readable::<Users>(report);
    }

    fn readable<T: Table>(&self, report: &mut Fsck)
    where
        T::Key: Clone + PartialEq,
    {
        if let Err(error) = for_each::<T>(self, |_, _| {}) {
            report.problem(error);
        }
    }
}
