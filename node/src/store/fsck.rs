//! The whole store read once: every record decodes, opens, is what its key says, and agrees with
//! the others.

mod sums;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use self::sums::{Salt, Sums};
use super::log_index::{Indexer, terms_of};
use super::open::for_each;
use super::schema::{
    Copies, Expiries, Feed, Forks, HeldCopy, Imports, Ledger, LostHeads, Matches, NoticeEnds,
    NoticeTallies, Notices, Offers, Own, OwnAlert, ParkedIn, ParkedOut, PeerLogs, Peers, Policies,
    Proposals, Restores, Retries, SealedToken, SlotId, StreamsIn, StreamsOut, TakenBack,
    Tombstones, Unasked, Users, acknowledgement_data, associated_data, notice_data,
};
use super::{IndexKey, Store, StoreError, Summary, Table};
use crate::alert::{self, View};
use crate::audit::Entry;
use crate::id::{AlertId, Digest, FeedSeq, NoticeId, Timestamp, Version};
use crate::jose::PublicKey;
use crate::matching::match_keys;

/// Most problems named: the first ones show what happened.
const PROBLEMS_MAX: usize = 50;

/// Alerts that a worker is given at a time.
const PAGE: usize = 64;

/// Entries of the log read at a time.
const LEAVES_PAGE: usize = 1024;

/// The result of checking the whole store.
#[derive(Clone, Debug, Default)]
pub struct Fsck {
    /// Own alerts that open.
    pub own: u64,
    /// Received copies that open.
    pub copies: u64,
    /// Entries of the audit log.
    pub log: u64,
    /// What is wrong, by id; empty when all is well.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; only ids and places.
    pub what: String,
    /// What to do about it.
    pub remedy: Remedy,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// What people do about a problem, the gravest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The store as a whole is unreliable.
    Restore,
    /// An alert is lost; the entry of the audit log that says who made it.
    CreateAgain(u64),
    /// An own alert is damaged.
    Withdraw(AlertId),
    /// The records beside an own alert are damaged; a new version writes them again.
    Update(AlertId),
    /// A copy is damaged; its issuer's next version replaces it.
    AskIssuer(AlertId),
    /// A notice is lost.
    SendAgain(NoticeId),
    /// What can be made from the rest is not what it should be.
    Compact,
    /// It is left over and has no effect.
    None,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore => f.write_str("set the folder aside and restore a backup"),
            Self::CreateAgain(entry) => write!(
                f,
                "look up who made it in entry {entry} of the audit log (`entente audit list`), and \
                 have it created again"
            ),
            Self::Withdraw(id) => {
                write!(f, "run `entente alert withdraw {id}`, and have it created again")
            }
            Self::Update(id) => {
                write!(f, "run `entente alert update {id}` with its draft, which enters it anew")
            }
            Self::AskIssuer(id) => write!(
                f,
                "ask the desk of {} to update it, and its next version takes its place here",
                id.authority()
            ),
            Self::SendAgain(id) => {
                write!(f, "have the desk of {} send it again, as a new notice", id.authority())
            }
            Self::Compact => {
                f.write_str("run `entente-node compact` on this home, which makes it anew")
            }
            Self::None => {
                f.write_str("nothing to do, since no search shows it and no peer gets it")
            }
        }
    }
}

/// Whose record is looked at.
#[derive(Clone, Copy)]
enum Whose {
    Own,
    Copy,
}

impl Whose {
    fn name(self, id: &AlertId) -> String {
        match self {
            Self::Own => format!("own alert {id}"),
            Self::Copy => format!("the copy of {id}"),
        }
    }

    /// What helps where content or record is wrong.
    fn replace(self, id: &AlertId) -> Remedy {
        match self {
            Self::Own => Remedy::Withdraw(id.clone()),
            Self::Copy => Remedy::AskIssuer(id.clone()),
        }
    }

    /// What helps where the record is right.
    fn renew(self, id: &AlertId) -> Remedy {
        match self {
            Self::Own => Remedy::Update(id.clone()),
            Self::Copy => Remedy::AskIssuer(id.clone()),
        }
    }
}

/// What an own alert and a copy have in common.
struct Held {
    whose: Whose,
    id: AlertId,
    version: Version,
    jwt_digest: Digest,
    expires_at: Timestamp,
    slot: SlotId,
    token: SealedToken,
    match_keys: Vec<IndexKey>,
    /// Place of an own alert.
    feed: Option<FeedSeq>,
}

impl Held {
    fn own(id: AlertId, own: OwnAlert) -> Self {
        let OwnAlert { version, jwt_digest, expires_at, slot, token, match_keys, feed, .. } = own;
        let (whose, feed) = (Whose::Own, Some(feed));
        Self { whose, id, version, jwt_digest, expires_at, slot, token, match_keys, feed }
    }

    fn copy(id: AlertId, copy: HeldCopy) -> Self {
        let HeldCopy { version, jwt_digest, expires_at, slot, token, match_keys, .. } = copy;
        let (whose, feed) = (Whose::Copy, None);
        Self { whose, id, version, jwt_digest, expires_at, slot, token, match_keys, feed }
    }

    fn about(&self) -> Vec<u8> {
        associated_data(matches!(self.whose, Whose::Own), &self.id)
    }
}

/// What records say must exist elsewhere; whatever is found there is removed. It is made only where
/// [`Sums`] tell that something is wrong: for a million alerts it takes a gigabyte.
#[derive(Default)]
struct Expected {
    indexed: HashMap<(IndexKey, AlertId), Whose>,
    expiring: HashMap<(Timestamp, AlertId), Whose>,
    feed: HashSet<(FeedSeq, AlertId)>,
}

impl Expected {
    fn add(&mut self, held: Held) {
        let Held { whose, id, .. } = held;
        let entry = |key| ((key, id.clone()), whose);
        self.indexed.extend(held.match_keys.into_iter().map(entry));
        self.expiring.insert((held.expires_at, id.clone()), whose);
        self.feed.extend(held.feed.map(|feed| (feed, id)));
    }
}

/// What a worker found in the records that it looked at.
#[derive(Default)]
struct Seen {
    sums: Sums,
    report: Fsck,
}

impl Fsck {
    fn problem(&mut self, what: impl fmt::Display, remedy: Remedy) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { what: what.to_string(), remedy });
        }
    }
}

impl Store {
    /// Reads everything once; `log_key` signed the kept checkpoints. The gravest problems come
    /// first.
    ///
    /// # Errors
    /// When a table cannot be read at all.
    pub fn fsck(&self, log_key: &PublicKey) -> Result<Fsck, StoreError> {
        let salt = self.0.shared.entropy.bytes();
        let Seen { sums, mut report } = self.look_at_all(salt)?;
        if sums != self.sums_beside(salt)? {
            self.compare(&mut report)?;
            self.compare_list(&mut report)?;
        }
        self.compare_tombstones(&mut report)?;
        self.read_the_rest(&mut report);
        self.check_log(log_key, &mut report)?;
        report.problems.sort_by(|one, other| one.remedy.cmp(&other.remedy));
        Ok(report)
    }

    /// Opens every alert, on as many threads as there are processors.
    fn look_at_all(&self, salt: Salt) -> Result<Seen, StoreError> {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            let (to_workers, pages) = sync_channel::<Vec<Held>>(workers);
            let pages = Arc::new(Mutex::new(pages));
            let work = |pages: Arc<Mutex<Receiver<Vec<Held>>>>| {
                let mut seen = Seen::default();
                let next = || pages.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(page) = next() {
                    page.iter().for_each(|held| self.look_at(held, salt, &mut seen));
                }
                seen
            };
            let spawn = |_| {
                scope.spawn({
                    let pages = Arc::clone(&pages);
                    move || work(pages)
                })
            };
            let workers: Vec<_> = (0..workers).map(spawn).collect();
            // The workers alone hold it, so that nobody waits for them once they are gone.
            drop(pages);
            let mut held = Vec::new();
            let mut give = |one: Option<Held>| {
                let full = one.is_none() || held.len() >= PAGE;
                held.extend(one);
                if full {
                    // A worker that ended early is told of below.
                    let _ = to_workers.send(std::mem::take(&mut held));
                }
            };
            for_each::<Own>(self, |id, own| give(Some(Held::own(id, own))))?;
            for_each::<Copies>(self, |id, copy| give(Some(Held::copy(id, copy))))?;
            give(None);
            drop(to_workers);
            let mut all = Seen::default();
            for worker in workers {
                let seen = worker.join();
                let seen = seen
                    .map_err(|_| StoreError::Corrupt("an alert can't be looked at".to_owned()))?;
                all.sums += seen.sums;
                all.report.own += seen.report.own;
                all.report.copies += seen.report.copies;
                for Problem { what, remedy } in seen.report.problems {
                    all.report.problem(what, remedy);
                }
            }
            Ok(all)
        })
    }

    /// Checks one record: it opens, and is the alert that its key and its fields name.
    fn look_at(&self, held: &Held, salt: Salt, seen: &mut Seen) {
        let Held { whose, id, .. } = held;
        let (whose, name, report) = (*whose, whose.name(id), &mut seen.report);
        match whose {
            Whose::Own => report.own += 1,
            Whose::Copy => report.copies += 1,
        }
        let sums = &mut seen.sums;
        sums.held.add(salt, &id);
        sums.expiring.add(salt, &(held.expires_at, id));
        if let Some(feed) = held.feed {
            sums.feed.add(salt, &(feed, id));
        }
        for key in &held.match_keys {
            sums.indexed.add(salt, &(key, id, matches!(whose, Whose::Own)));
        }
        let Some(view) = self.opened(held) else {
            return report.problem(format!("{name} does not open"), whose.replace(id));
        };
        if view.head.id != *id {
            let what = format!("{name} holds what was signed as {}", view.head.id);
            report.problem(what, whose.replace(id));
        } else if (view.head.version, view.jwt_digest) != (held.version, held.jwt_digest) {
            let what = format!("{name} holds another version than its record says");
            report.problem(what, whose.replace(id));
        }
        let summary = self.0.shared.summary(held.slot, &held.about(), &held.token);
        if !matches!(summary, Ok(None)) && summary != Ok(Some(Summary::of(&view))) {
            report.problem(format!("{name} is listed as what it is not"), whose.renew(id));
        }
        let keys = match_keys(&view);
        let keys: HashSet<_> = keys.iter().map(|key| self.index_key(&key.bytes())).collect();
        if keys != held.match_keys.iter().copied().collect() {
            report.problem(format!("{name} is indexed for what it does not say"), whose.renew(id));
        }
    }

    fn opened(&self, held: &Held) -> Option<View> {
        let token = self.0.shared.unseal(held.slot, &held.about(), &held.token).ok()?;
        alert::read(std::str::from_utf8(&token).ok()?).ok()
    }

    /// Compares what stands beside the records with what they say, in both directions.
    fn compare(&self, report: &mut Fsck) -> Result<(), StoreError> {
        let mut expected = Expected::default();
        for_each::<Own>(self, |id, own| expected.add(Held::own(id, own)))?;
        for_each::<Copies>(self, |id, copy| expected.add(Held::copy(id, copy)))?;
        for_each::<Matches>(self, |key, entry| match expected.indexed.remove(&key) {
            None => {
                let what = format!("the index names {} for what it does not say", key.1);
                report.problem(what, Remedy::None);
            }
            Some(whose) if entry.own != matches!(whose, Whose::Own) => {
                let what = format!("the index mistakes whose alert {} is", key.1);
                report.problem(what, whose.renew(&key.1));
            }
            Some(_) => {}
        })?;
        for_each::<Expiries>(self, |key, ()| {
            expected.expiring.remove(&key);
        })?;
        for_each::<Feed>(self, |place, entry| {
            let Some(alert) = entry.subject.alert().filter(|_| !entry.withdrawn) else { return };
            if !expected.feed.remove(&(place, alert.clone())) {
                let what = format!("place {place} of the feed names {alert} out of turn");
                report.problem(what, Remedy::None);
            }
        })?;
        for ((_, id), whose) in expected.indexed {
            let what = format!("{} is missing in the index", whose.name(&id));
            report.problem(what, whose.renew(&id));
        }
        for ((_, id), whose) in expected.expiring {
            let what = format!("{} would not be erased at its end", whose.name(&id));
            report.problem(what, whose.renew(&id));
        }
        for (_, id) in expected.feed {
            let what = format!("own alert {id} is missing in the feed");
            report.problem(what, Remedy::Update(id));
        }
        Ok(())
    }

    fn compare_list(&self, report: &mut Fsck) -> Result<(), StoreError> {
        for (id, what) in self.list_problems()? {
            let remedy = match self.get::<Own>(&id) {
                Ok(Some(_)) => Remedy::Update(id),
                _ if self.get::<Copies>(&id).is_ok_and(|copy| copy.is_some()) => {
                    Remedy::AskIssuer(id)
                }
                _ => Remedy::None,
            };
            report.problem(what, remedy);
        }
        Ok(())
    }

    fn compare_tombstones(&self, report: &mut Fsck) -> Result<(), StoreError> {
        for_each::<Tombstones>(self, |id, _| {
            if self.get::<Own>(&id).is_ok_and(|own| own.is_some()) {
                let what = format!("own alert {id} was erased, and is there");
                report.problem(what, Remedy::Withdraw(id));
            }
        })
    }

    /// The log, its index, and that no alert was created twice.
    fn check_log(&self, log_key: &PublicKey, report: &mut Fsck) -> Result<(), StoreError> {
        let (mut made, mut twice) = (HashSet::new(), false);
        let (mut indexer, mut differing) = (Indexer::default(), None);
        let database = self.0.shared.database()?;
        let mut differs = |entry: &Entry| -> Result<bool, StoreError> {
            for (key, value) in indexer.push(terms_of(entry))? {
                if database.get(&key)?.is_none_or(|held| held.as_ref() != value.as_slice()) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let walked = self.walk_log(log_key, |entry| {
            if differs(&entry).unwrap_or(true) {
                differing.get_or_insert(entry.index);
            }
            if let ("alert.created", Some(id)) = (entry.kind.as_str(), &entry.alert) {
                let id = Digest::of(id.to_string().as_bytes());
                twice |= !made.insert(id.0.first_chunk::<8>().copied());
            }
        });
        if let Some(entry) = differing {
            let what =
                format!("the index of the log is not what the log says before entry {entry}");
            report.problem(what, Remedy::Compact);
        }
        match walked {
            Ok(tree) => report.log = tree.size(),
            Err(error) => {
                twice = true;
                report.problem(error, Remedy::Restore);
            }
        }
        if twice { self.made_twice(report) } else { Ok(()) }
    }

    /// Finds two alerts created under one id: the first was overwritten although it was
    /// acknowledged.
    fn made_twice(&self, report: &mut Fsck) -> Result<(), StoreError> {
        let mut made: HashMap<AlertId, u64> = HashMap::new();
        let mut from = 0;
        loop {
            let page = self.leaves(from, LEAVES_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = last + 1;
            let entries = page.iter().filter_map(|(_, leaf)| Entry::parse(leaf).ok());
            for entry in entries.filter(|entry| entry.kind == "alert.created") {
                let Some(id) = entry.alert else { continue };
                if let Some(first) = made.insert(id.clone(), entry.index) {
                    let what = format!("two alerts were created as {id}, and the first is lost");
                    report.problem(what, Remedy::CreateAgain(first));
                }
            }
        }
    }

    fn read_the_rest(&self, report: &mut Fsck) {
        self.readable::<Imports>(report);
        self.look_at_notices(report);
        self.readable::<NoticeEnds>(report);
        self.readable::<NoticeTallies>(report);
        self.readable::<Peers>(report);
        self.readable::<StreamsOut>(report);
        self.readable::<StreamsIn>(report);
        self.readable::<Offers>(report);
        self.readable::<Ledger>(report);
        self.readable::<ParkedOut>(report);
        self.readable::<ParkedIn>(report);
        self.readable::<Retries>(report);
        self.readable::<Policies>(report);
        self.readable::<Proposals>(report);
        self.readable::<Users>(report);
        self.readable::<PeerLogs>(report);
        self.readable::<LostHeads>(report);
        self.readable::<TakenBack>(report);
        self.readable::<Unasked>(report);
        self.readable::<Restores>(report);
        self.readable::<Forks>(report);
    }

    /// Notices, and the words that they were read, open.
    fn look_at_notices(&self, report: &mut Fsck) {
        let mut lost = Vec::new();
        let read = for_each::<Notices>(self, |(_, id), held| {
            let opens = self.0.shared.unseal(held.slot, &notice_data(&id), &held.token).is_ok();
            let said_opens = held.acknowledged.is_none_or(|said| {
                self.0.shared.unseal(said.slot, &acknowledgement_data(&id), &said.token).is_ok()
            });
            if !(opens && said_opens) {
                lost.push(id);
            }
        });
        if let Err(error) = read {
            report.problem(error, Remedy::Restore);
        }
        for id in lost {
            report.problem(format!("notice {id} does not open"), Remedy::SendAgain(id));
        }
    }

    fn readable<T: Table>(&self, report: &mut Fsck)
    where
        T::Key: Clone + PartialEq,
    {
        if let Err(error) = for_each::<T>(self, |_, _| {}) {
            report.problem(error, Remedy::Restore);
        }
    }
}
