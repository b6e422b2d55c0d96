//! Lists notices, those first that came last; what they say stays sealed.

use std::collections::BTreeMap;

use crate::audit::{Event, Operation};
use crate::desk::DeskError;
use crate::holding::{NoticeKey, is_sent};
use crate::id::{AlertId, AuthorityId, NoticeId, Timestamp};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{
    HeldNotice, NoticeTallies, Notices, PAGE, ParkedOut, Read, Scan, Snapshot, StoreError, Subject,
};

use super::PEERS_MAX;

/// How a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// Sent, and not taken yet.
    Waiting,
    /// Sent, and refused by the receiver, or held back: a reason says why.
    Refused,
    /// Sent, and not sent any more: the peer was removed before it took it.
    Stopped,
    /// At its receiver, who did not acknowledge it yet.
    Open,
    /// A person at the receiver read it.
    Acknowledged,
}

impl NoticeState {
    /// Every state.
    pub const ALL: &[Self] =
        &[Self::Waiting, Self::Refused, Self::Stopped, Self::Open, Self::Acknowledged];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl std::str::FromStr for NoticeState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().find(|state| state.as_str() == text).copied().ok_or(())
    }
}

/// What a list says of a notice.
#[derive(Clone, Debug)]
pub struct ListedNotice {
    /// Which.
    pub id: NoticeId,
    /// The other authority.
    pub other: AuthorityId,
    /// This node sent it.
    pub sent: bool,
    /// How it stands.
    pub state: NoticeState,
    /// Why it is [`NoticeState::Refused`]; else empty.
    pub reason: String,
    /// The alert that it is about.
    pub about: Option<AlertId>,
    /// The user who sent it, where that was here.
    pub by: String,
    /// When it became durable here.
    pub at: Timestamp,
    /// When its receiver took it, of one that was sent.
    pub taken_at: Option<Timestamp>,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// The user who acknowledged it, where that was here.
    pub acknowledged_by: String,
}

/// Which notices are listed.
#[derive(Clone, Debug, Default)]
pub struct WantedNotices {
    /// Of or to this authority.
    pub other: Option<AuthorityId>,
    /// In this state.
    pub state: Option<NoticeState>,
    /// Sent here, or received.
    pub sent: Option<bool>,
}

/// A page of a list.
pub struct NoticePage {
    /// The newest first.
    pub notices: Vec<ListedNotice>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<(Timestamp, NoticeId)>,
}

/// Lists notices older than `before`, the newest first, at most `size`. The look is logged.
///
/// # Errors
/// When the store failed.
pub async fn list_notices(
    node: &SharedNode,
    wanted: WantedNotices,
    before: Option<(Timestamp, NoticeId)>,
    size: usize,
    actor: &Actor,
) -> Result<NoticePage, DeskError> {
    let read = node.store.read(move |now| {
        let newest = Newest { before: before.clone(), size, found: BTreeMap::new() };
        find_newest(now, &wanted, newest)
    });
    let (notices, next) = read.await?;
    let event = Event::new(Operation::Consult, "consult.notices_listed", &actor.name);
    super::super::read::log(node, event.with("count", notices.len()), None).await?;
    Ok(NoticePage { notices, next })
}

/// When a notice became durable here, and which: lists go by it.
type Place = (Timestamp, NoticeId);

/// The newest notices before a place, and one more, which says that another page follows: what a
/// list takes of memory depends on its page, not on how many notices are held.
struct Newest {
    before: Option<Place>,
    size: usize,
    found: BTreeMap<Place, ListedNotice>,
}

impl Newest {
    fn wants(&self, place: &Place) -> bool {
        let is_full = self.found.len() > self.size;
        let oldest = self.found.keys().next().filter(|_| is_full);
        self.before.as_ref().is_none_or(|before| place < before)
            && oldest.is_none_or(|oldest| place > oldest)
    }

    fn add(&mut self, place: Place, notice: ListedNotice) {
        self.found.insert(place, notice);
        if self.found.len() > self.size.saturating_add(1) {
            self.found.pop_first();
        }
    }

    /// The page, the newest first, and where the next one begins.
    fn page(mut self) -> (Vec<ListedNotice>, Option<Place>) {
        let more = self.found.len() > self.size;
        if more {
            self.found.pop_first();
        }
        let next = self.found.keys().next().filter(|_| more).cloned();
        (self.found.into_values().rev().collect(), next)
    }
}

fn find_newest(
    now: &Snapshot<'_>,
    wanted: &WantedNotices,
    mut newest: Newest,
) -> Result<(Vec<ListedNotice>, Option<Place>), StoreError> {
    let scan = wanted.other.as_ref().map_or_else(Scan::<Notices>::all, Scan::of);
    let mut pages = scan.pages(PAGE);
    while let Some(page) = pages.next(now)? {
        for (key, held) in page {
            let place = (held.at, key.1.clone());
            if !newest.wants(&place) {
                continue;
            }
            let notice = listed(now, &key, &held)?;
            let fits = wanted.state.is_none_or(|state| state == notice.state)
                && wanted.sent.is_none_or(|sent| sent == notice.sent);
            if fits {
                newest.add(place, notice);
            }
        }
    }
    Ok(newest.page())
}

/// What a list says of a notice.
pub(super) fn listed(
    now: &impl Read,
    key: &NoticeKey,
    held: &HeldNotice,
) -> Result<ListedNotice, StoreError> {
    let (other, id) = key;
    let sent = is_sent(key);
    let parked = match sent && held.taken_at.is_none() {
        true => now.get::<ParkedOut>(&(other.clone(), Subject::Notice(id.clone())))?,
        false => None,
    };
    let state = match (&held.acknowledged, &parked) {
        (Some(_), _) => NoticeState::Acknowledged,
        (None, Some(_)) => NoticeState::Refused,
        (None, None) if !sent || held.taken_at.is_some() => NoticeState::Open,
        (None, None) if held.feed.is_none() => NoticeState::Stopped,
        (None, None) => NoticeState::Waiting,
    };
    Ok(ListedNotice {
        id: id.clone(),
        other: other.clone(),
        sent,
        state,
        reason: parked.map(|parked| parked.reason).unwrap_or_default(),
        about: held.about.clone(),
        by: held.by.clone(),
        at: held.at,
        taken_at: held.taken_at,
        acknowledged_at: held.acknowledged.as_ref().map(|said| said.issued_at),
        acknowledged_by: held.acknowledged.as_ref().map(|said| said.by.clone()).unwrap_or_default(),
    })
}

/// Received notices that nobody here acknowledged.
///
/// # Errors
/// When the store cannot be read.
pub fn open_notices(node: &Node) -> Result<u64, StoreError> {
    let tallies = node.store.scan(Scan::<NoticeTallies>::all(), PEERS_MAX)?;
    Ok(tallies.iter().map(|(_, counts)| u64::from(counts.received.open)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(place: &Place) -> ListedNotice {
        ListedNotice {
            id: place.1.clone(),
            other: "fr.police-judiciaire".parse().expect("a name"),
            sent: true,
            state: NoticeState::Waiting,
            reason: String::new(),
            about: None,
            by: String::new(),
            at: place.0,
            taken_at: None,
            acknowledged_at: None,
            acknowledged_by: String::new(),
        }
    }

    #[test]
    fn a_page_holds_no_more_than_its_size_and_pages_leave_none_out() {
        let me: AuthorityId = "dk.politi".parse().expect("a name");
        // Out of order, and pairs of one second.
        let places: Vec<Place> = (0..40_u8)
            .map(|n| n * 3 % 40)
            .map(|n| (Timestamp::from_seconds(i64::from(n / 2)), NoticeId::new(me.clone(), [n; 6])))
            .collect();
        let (mut before, mut all) = (None, vec![]);
        loop {
            let mut newest = Newest { before, size: 7, found: BTreeMap::new() };
            for place in &places {
                if newest.wants(place) {
                    newest.add(place.clone(), notice(place));
                }
                assert!(newest.found.len() <= 8);
            }
            let (page, next) = newest.page();
            all.extend(page.into_iter().map(|notice| (notice.at, notice.id)));
            before = next;
            if before.is_none() {
                break;
            }
        }
        let mut sorted = places;
        sorted.sort_by(|one, other| other.cmp(one));
        assert_eq!(all, sorted);
    }
}
