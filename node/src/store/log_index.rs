//! The index of the audit log: which entries are of an operation, by an actor, or about an alert.
//! It is written a segment of the log at a time, with the commit that completes the segment, so
//! that it costs a record for sixty entries; what lies behind the last whole segment is read
//! itself.

use std::collections::BTreeMap;

use super::database::{Database, Record};
use super::schema::{Log, LogIndex, Posting, Term};
use super::table::{Table, decode_record, key_bytes};
use super::{RecordOf, Store, StoreError};
use crate::audit::{Entry, Operation};
use crate::id::{AlertId, Digest, Timestamp};

/// Entries of a segment. Fewer than so many are read behind the last whole one.
pub(super) const SEGMENT: u64 = 4096;

/// Records of a segment, by the first bits of a term: each is read as a whole.
const BUCKETS: u8 = 64;

/// In place of a bucket: the record that says that a segment is indexed.
const WHOLE: u8 = u8::MAX;

/// How far a clock may have been set back between two entries, in seconds: further than this beside
/// a time that is looked for, no entry of that time stands.
const SET_BACK_S: i64 = 2 * 24 * 3600;

/// Leaves read at a time.
const PAGE: usize = 128;

/// Which entries of the log are looked for; what is `None` is not looked at.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// What was done.
    pub operation: Option<Operation>,
    /// About this alert.
    pub alert: Option<AlertId>,
    /// By this user, or `node`.
    pub actor: Option<String>,
    /// Logged at this time or later.
    pub since: Option<Timestamp>,
    /// Logged before this time.
    pub until: Option<Timestamp>,
}

impl LogFilter {
    fn terms(&self) -> Vec<Term> {
        let alert = self.alert.as_ref().map(of_alert);
        let actor = self.actor.as_deref().map(of_actor);
        [alert, actor, self.operation.map(of_operation)].into_iter().flatten().collect()
    }

    fn fits(&self, leaf: &[u8]) -> bool {
        let Self { operation, alert, actor, since, until } = self;
        if self.terms().is_empty() && since.is_none() && until.is_none() {
            return true;
        }
        let Ok(entry) = Entry::parse(leaf) else { return false };
        operation.is_none_or(|operation| entry.operation == operation)
            && alert.as_ref().is_none_or(|alert| entry.alert.as_ref() == Some(alert))
            && actor.as_ref().is_none_or(|actor| entry.actor == *actor)
            && since.is_none_or(|since| entry.at >= since)
            && until.is_none_or(|until| entry.at < until)
    }
}

/// Leaves that were found.
#[derive(Debug, Default)]
pub struct FoundLeaves {
    /// With their places in the log.
    pub leaves: Vec<(u64, Vec<u8>)>,
    /// Where to look on: everything before it was looked at.
    pub next: u64,
}

impl Store {
    /// Where in the log entries of the times of `filter` may stand: from the first place up to the
    /// second.
    ///
    /// # Errors
    /// When its entries cannot be read.
    pub fn log_range(&self, filter: &LogFilter) -> Result<(u64, u64), StoreError> {
        let first = match filter.since {
            Some(since) => self.entries_until(since.plus(-SET_BACK_S - 1))?,
            None => 0,
        };
        let end = match filter.until {
            Some(until) => self.entries_until(until.plus(SET_BACK_S))?,
            None => self.log().size(),
        };
        Ok((first, end))
    }

    /// Looks for leaves that fit, from place `from` on and before `end`, a bounded number at a
    /// time: what is found may be nothing, with `next` further on. Where the log is indexed nothing
    /// else is read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn find_leaves(
        &self,
        filter: &LogFilter,
        from: u64,
        end: u64,
    ) -> Result<FoundLeaves, StoreError> {
        let segment = from / SEGMENT;
        let until = end.min((segment + 1).saturating_mul(SEGMENT));
        let terms = filter.terms();
        let indexed = !terms.is_empty() && self.get::<LogIndex>(&([WHOLE], segment))?.is_some();
        if !indexed {
            let left = usize::try_from(until.saturating_sub(from)).unwrap_or(PAGE).min(PAGE);
            let read = self.leaves(from, left)?;
            let missing = || StoreError::Corrupt(format!("entry {from} of the log is missing"));
            let next = read.last().ok_or_else(missing)?.0 + 1;
            let leaves = read.into_iter().filter(|(_, leaf)| filter.fits(leaf)).collect();
            return Ok(FoundLeaves { leaves, next });
        }
        let mut places = self.indexed(&terms, segment)?;
        places.retain(|place| (from..until).contains(place));
        let next = places.get(PAGE).copied().unwrap_or(until);
        let mut leaves = Vec::new();
        for place in places.into_iter().take(PAGE) {
            let fitting = self.leaves(place, 1)?.into_iter().filter(|(_, leaf)| filter.fits(leaf));
            leaves.extend(fitting);
        }
        Ok(FoundLeaves { leaves, next })
    }

    /// The index of a whole segment, made from its entries.
    pub(super) fn segment_index(
        &self,
        segment: u64,
    ) -> Result<Vec<RecordOf<LogIndex>>, StoreError> {
        let mut indexer = Indexer::of_segment_with(segment * SEGMENT);
        loop {
            let from = indexer.next();
            let leaves = self.leaves(from, PAGE)?;
            if leaves.is_empty() {
                return Err(StoreError::Corrupt(format!("entry {from} of the log is missing")));
            }
            for (_, leaf) in leaves {
                let terms = Entry::parse(&leaf).map(|entry| terms_of(&entry)).unwrap_or_default();
                let records = indexer.push(terms)?;
                if !records.is_empty() {
                    let decoded = records.iter().map(|(k, v)| decode_record::<LogIndex>(k, v));
                    return decoded.collect();
                }
            }
        }
    }

    /// Places within a segment that are found by all of these terms.
    fn indexed(&self, terms: &[Term], segment: u64) -> Result<Vec<u64>, StoreError> {
        let mut common: Option<Vec<u64>> = None;
        for term in terms {
            let record = self.get::<LogIndex>(&([bucket(term)], segment))?.unwrap_or_default();
            let posting = record.into_iter().find(|posting| posting.term == *term);
            let places = posting.map_or_else(Vec::new, |posting| posting.places(segment));
            common = Some(match common {
                None => places,
                Some(common) => {
                    common.into_iter().filter(|p| places.binary_search(p).is_ok()).collect()
                }
            });
        }
        Ok(common.unwrap_or_default())
    }
}

impl Posting {
    fn places(&self, segment: u64) -> Vec<u64> {
        let steps = self.steps.iter().scan(segment * SEGMENT, |at, step| {
            *at += u64::from(*step);
            Some(*at)
        });
        steps.collect()
    }
}

fn of_operation(operation: Operation) -> Term {
    term("operation", operation.as_str())
}

fn of_actor(actor: &str) -> Term {
    term("actor", actor)
}

fn of_alert(alert: &AlertId) -> Term {
    term("alert", &alert.to_string())
}

/// The beginning of a digest. Two that begin alike cost a look at an entry that does not fit.
fn term(kind: &str, value: &str) -> Term {
    let digest = Digest::of_parts(&[kind.as_bytes(), &[0], value.as_bytes()]);
    let mut term = Term::default();
    term.iter_mut().zip(digest.0).for_each(|(to, from)| *to = from);
    term
}

fn bucket(term: &Term) -> u8 {
    term.first().map_or(0, |first| first % BUCKETS)
}

/// What an entry is found by.
pub(super) fn terms_of(entry: &Entry) -> Vec<Term> {
    let (operation, actor) = (of_operation(entry.operation), of_actor(&entry.actor));
    [operation, actor].into_iter().chain(entry.alert.as_ref().map(of_alert)).collect()
}

/// What the entries of the present segment are found by, until it is complete.
#[derive(Default)]
pub(super) struct Indexer {
    segment: u64,
    terms: Vec<Vec<Term>>,
}

impl Indexer {
    /// Of the segment in which entry `place` stands, before any of its entries.
    pub(super) fn of_segment_with(place: u64) -> Self {
        Self { segment: place / SEGMENT, terms: vec![] }
    }

    /// Place of the entry that it takes next.
    pub(super) fn next(&self) -> u64 {
        self.segment * SEGMENT + self.terms.len() as u64
    }

    /// Of the last segment of a log that has `size` entries.
    pub(super) fn of_log(database: &Database, size: u64) -> Result<Self, StoreError> {
        let mut indexer = Self::of_segment_with(size);
        let (first, mut records) = (indexer.next(), Vec::new());
        let mut last = database.newest_last(&[Log::PREFIX])?;
        while let Some((key, value)) = last {
            let record = decode_record::<Log>(&key, &value)?;
            let place = record.0;
            records.push(record);
            last = match place.checked_sub(1).filter(|_| place > first) {
                Some(before) => {
                    database.newest_until(&[Log::PREFIX], &key_bytes::<Log>(&before))?
                }
                None => None,
            };
        }
        for (place, record) in records.into_iter().rev() {
            for (_, leaf) in (place..size).zip(record.leaves).filter(|(at, _)| *at >= first) {
                indexer
                    .push(Entry::parse(&leaf).map(|entry| terms_of(&entry)).unwrap_or_default())?;
            }
        }
        Ok(indexer)
    }

    /// Takes the next entry; returns the records of its segment once that is complete.
    pub(super) fn push(&mut self, terms: Vec<Term>) -> Result<Vec<Record>, StoreError> {
        self.terms.push(terms);
        if (self.terms.len() as u64) < SEGMENT {
            return Ok(vec![]);
        }
        let terms = std::mem::take(&mut self.terms);
        self.segment += 1;
        records(self.segment - 1, terms)
    }
}

fn records(segment: u64, terms: Vec<Vec<Term>>) -> Result<Vec<Record>, StoreError> {
    let mut by_term: BTreeMap<Term, Vec<u16>> = BTreeMap::new();
    for (place, terms) in (0..).zip(terms) {
        terms.into_iter().for_each(|term| by_term.entry(term).or_default().push(place));
    }
    let mut buckets: BTreeMap<u8, Vec<Posting>> = BTreeMap::from([(WHOLE, vec![])]);
    for (term, places) in by_term {
        let before = [0].into_iter().chain(places.iter().copied());
        let steps = places.iter().zip(before).map(|(place, before)| place - before).collect();
        buckets.entry(bucket(&term)).or_default().push(Posting { term, steps });
    }
    let encoded = buckets.into_iter().map(|(bucket, postings)| {
        Ok((key_bytes::<LogIndex>(&([bucket], segment)), postcard::to_allocvec(&postings)?))
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::path::Path;

    use super::*;
    use crate::audit::Event;
    use crate::id::{Clock, Entropy, Secret};
    use crate::store::{Committed, Meta, Progress, Remedy, StoreOptions, Upgrade};

    #[test]
    fn every_term_of_a_segment_has_its_places() {
        let alert = |n: u64| term("alert", &n.to_string());
        let mut indexer = Indexer::of_segment_with(SEGMENT + 7);
        assert_eq!(indexer.next(), SEGMENT);
        let mut records = vec![];
        for n in 0..SEGMENT {
            assert!(records.is_empty());
            let everywhere = of_actor("node");
            let terms = if n % 3 == 0 { vec![everywhere, alert(n)] } else { vec![everywhere] };
            records = indexer.push(terms).unwrap_or_default();
        }
        assert_eq!(indexer.next(), 2 * SEGMENT);
        let postings = records
            .iter()
            .flat_map(|(_, value)| postcard::from_bytes::<Vec<Posting>>(value).unwrap_or_default());
        let found: BTreeMap<_, _> = postings.map(|p| (p.term, p.places(1))).collect();
        assert_eq!(found.get(&of_actor("node")), Some(&(SEGMENT..2 * SEGMENT).collect()));
        assert_eq!(found.get(&alert(9)), Some(&vec![SEGMENT + 9]));
        assert_eq!(found.get(&alert(10)), None);
        let whole = key_bytes::<LogIndex>(&([WHOLE], 1));
        assert!(records.iter().any(|(key, _)| *key == whole));
        assert!(records.iter().all(|(key, _)| key.first() == Some(&LogIndex::PREFIX)));
    }

    fn open(folder: &Path, upgrade: Upgrade<'_>) -> Store {
        let owner = "dk.politi".parse().unwrap();
        let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min: 0 };
        let (key, clock) = (Secret::new([7; 32]), Clock::system());
        let opened =
            Store::open_with(folder, &owner, &key, &options, (clock, Entropy::os()), upgrade);
        opened.unwrap()
    }

    fn alert_id(body: u32) -> AlertId {
        let id = |digit| AlertId::from_parts("dk.politi".parse().unwrap(), 2026, body * 10 + digit);
        (0..10).find_map(id).unwrap()
    }

    /// So many entries, few of them policies, about three hundred alerts by three people.
    fn fill(store: &Store, entries: u64) {
        const AT_ONCE: u64 = 500;
        for first in (0..entries).step_by(AT_ONCE as usize) {
            let event = |n: u64| {
                let actor = ["node", "officer", "auditor"][(n % 3) as usize];
                match n % 1000 {
                    999 => Event::new(Operation::Policy, "policy.applied", actor),
                    _ => Event::new(Operation::Consult, "alert.exported", actor)
                        .alert(&alert_id((n % 307) as u32)),
                }
            };
            let more = (first + 1..first + AT_ONCE).map(event);
            let done = more.fold(Committed::new((), event(first)), Committed::and);
            store.commit_blocking(move |_| Ok::<_, StoreError>(done)).unwrap();
        }
    }

    fn filters() -> Vec<LogFilter> {
        let alert = Some(alert_id(77));
        let nobody = Some(alert_id(9999));
        let officer = Some("officer".to_owned());
        let policy = Some(Operation::Policy);
        vec![
            LogFilter::default(),
            LogFilter { operation: policy, ..LogFilter::default() },
            LogFilter { actor: officer.clone(), ..LogFilter::default() },
            LogFilter { alert: alert.clone(), ..LogFilter::default() },
            LogFilter { alert, actor: officer.clone(), ..LogFilter::default() },
            LogFilter { operation: policy, actor: officer, ..LogFilter::default() },
            LogFilter { alert: nobody, ..LogFilter::default() },
        ]
    }

    /// All that fits, and how many looks it took.
    fn found(store: &Store, filter: &LogFilter) -> (Vec<u64>, usize) {
        let (mut from, end, mut looks, mut found) = (0, store.log().size(), 0, vec![]);
        while from < end {
            let more = store.find_leaves(filter, from, end).unwrap();
            assert!(more.next > from && more.leaves.len() <= PAGE);
            (from, looks) = (more.next, looks + 1);
            found.extend(more.leaves.iter().map(|(place, _)| *place));
        }
        (found, looks)
    }

    fn walked(store: &Store, filter: &LogFilter) -> Vec<u64> {
        let leaves = store.leaves(0, usize::MAX >> 1).unwrap();
        let fitting = leaves.into_iter().filter(|(_, leaf)| filter.fits(leaf));
        fitting.map(|(place, _)| place).collect()
    }

    /// Across a start in the middle of a segment, and after an upgrade of a store without an index.
    #[test]
    fn a_filtered_look_finds_what_a_walk_finds_and_reads_little() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Upgrade::AtStart);
        fill(&store, 6000);
        store.close();
        drop(store);
        let store = open(folder.path(), Upgrade::AtStart);
        fill(&store, 4000);
        let segments = (store.log().size() / SEGMENT) as usize;
        let behind = SEGMENT as usize / PAGE + 1;
        assert_eq!(segments, 2);
        for filter in filters() {
            let (found, looks) = found(&store, &filter);
            assert_eq!(found, walked(&store, &filter), "{filter:?}");
            if filter.alert.is_some() || filter.operation.is_some() {
                assert!(looks <= segments + behind, "{looks} looks for {filter:?}");
            }
        }
        let key = crate::jose::SigningKey::generate(&Entropy::os()).public();
        assert_eq!(store.fsck(&key).unwrap().problems, vec![]);
        let without = |tx: &mut crate::store::Tx<'_>| {
            for segment in 0..2 {
                for bucket in (0..BUCKETS).chain([WHOLE]) {
                    tx.delete::<LogIndex>(&([bucket], segment));
                }
            }
            tx.put::<Meta>(&"schema".to_owned(), &3u32.to_be_bytes().to_vec());
            let event = Event::new(Operation::Key, "test", "test");
            Ok::<_, StoreError>(Committed::new((), event))
        };
        store.commit_blocking(without).unwrap();
        let problems = store.fsck(&key).unwrap().problems;
        assert_eq!(problems.first().map(|problem| &problem.remedy), Some(&Remedy::Compact));
        store.close();
        drop(store);
        let mut nobody = |_: &Progress| {};
        let whole = Upgrade::Whole { records_at_once: 10, told: &mut nobody };
        let store = open(folder.path(), whole);
        assert_eq!(store.fsck(&key).unwrap().problems, vec![]);
        for filter in filters() {
            let (found, looks) = found(&store, &filter);
            assert_eq!(found, walked(&store, &filter), "{filter:?}");
            if filter.alert.is_some() || filter.operation.is_some() {
                assert!(looks <= segments + behind, "{looks} looks for {filter:?}");
            }
        }
    }

    #[test]
    fn a_look_at_a_time_begins_and_ends_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Upgrade::AtStart);
        fill(&store, 1000);
        let (now, size) = (Clock::system().now(), store.log().size());
        let range = |since: Option<i64>, until: Option<i64>| {
            let at = |seconds: Option<i64>| seconds.map(|seconds| now.plus(seconds));
            let (since, until) = (at(since), at(until));
            store.log_range(&LogFilter { since, until, ..LogFilter::default() }).unwrap()
        };
        assert_eq!(range(None, None), (0, size));
        assert_eq!(range(Some(-60), Some(60)), (0, size));
        let week = 7 * 24 * 3600;
        assert_eq!(range(Some(week), None), (size, size));
        assert_eq!(range(None, Some(-week)), (0, 0));
        let later = LogFilter { since: Some(now.plus(60)), ..LogFilter::default() };
        assert_eq!(found(&store, &later).0, Vec::<u64>::new());
    }
}
