//! Lists what is held, newest change first. Every look is logged before it is answered.

use std::sync::Arc;

use super::read::log;
use super::{DeskError, State};
use crate::alert::{Category, Urgency};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::{summary_of_copy, summary_of_own};
use crate::id::{AlertId, AuthorityId, Timestamp, Version};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{
    Copies, Facet, IndexKey, LastChanges, Own, Read, RecentAlert, Snapshot, StoreError, Summary,
    Tombstones,
};

/// Most contents opened for one page: a rare category can't occupy a thread for longer than about a
/// second.
const OPENED_MAX: usize = 10_000;

/// Most places of the index read for one page, opened or not.
const LOOKED_AT_MAX: usize = 100_000;

/// Places read at a time.
const PAGE: usize = 256;

/// How far a clock may have been set back between two changes, in seconds: further than this before
/// `since`, nothing later can follow.
const SET_BACK_S: i64 = 2 * 24 * 3600;

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub id: AlertId,
    /// Its version.
    pub version: Version,
    /// Its state.
    pub state: State,
    /// Issued here.
    pub own: bool,
    /// Of a live one.
    pub category: Option<Category>,
    /// Of a live one.
    pub urgency: Option<Urgency>,
    /// A copy within its lease; own alerts always.
    pub confirmed: bool,
    /// When it was created, received, changed or erased here, whichever was last.
    pub changed_at: Timestamp,
    /// When a live one expires.
    pub expires_at: Option<Timestamp>,
}

/// The alerts to list; `None` means any.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who issued them.
    pub issuer: Option<AuthorityId>,
    /// Of live ones.
    pub category: Option<Category>,
    /// Of live ones.
    pub urgency: Option<Urgency>,
    /// The case of live ones; empty: every case.
    pub case_ref: String,
    /// Only what the caller created.
    pub mine: bool,
    /// Last changed at this time or later.
    pub since: Option<Timestamp>,
    /// Last changed before this time.
    pub until: Option<Timestamp>,
    /// Their state.
    pub state: State,
}

impl Wanted {
    /// All in this state.
    pub fn all(state: State) -> Self {
        let (issuer, category, urgency, case_ref) = (None, None, None, String::new());
        let (mine, since, until) = (false, None, None);
        Self { issuer, category, urgency, case_ref, mine, since, until, state }
    }

    /// The narrowest index that contains all of them.
    fn facet(&self, node: &Node, actor: &Actor) -> Facet {
        let by = actor.name.clone();
        match (self.state, self.mine) {
            (State::Live, _) if !self.case_ref.is_empty() => {
                Facet::Case(node.store.case_key(&self.case_ref))
            }
            (State::Live, true) => Facet::LiveBy(by),
            (State::Live, false) => Facet::Live,
            (State::Erased(_), true) => Facet::ErasedBy(by),
            (State::Erased(_), false) => Facet::Erased,
        }
    }

    /// What the index itself says.
    fn may_fit(&self, place: &RecentAlert) -> bool {
        self.issuer.as_ref().is_none_or(|issuer| place.id.authority() == issuer)
            && self.since.is_none_or(|since| place.at >= since)
            && self.until.is_none_or(|until| place.at < until)
    }

    fn fits(&self, listed: &Listed) -> bool {
        listed.state == self.state
            && self.category.is_none_or(|category| listed.category == Some(category))
            && self.urgency.is_none_or(|urgency| listed.urgency == Some(urgency))
    }
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest change first.
    pub alerts: Vec<Listed>,
    /// Where the next page continues: before this entry of the log. It may be set even if this page
    /// is empty.
    pub next: Option<u64>,
}

/// Lists alerts by their last change here, newest first, at most `limit`, of those that changed
/// before entry `before` of the log. The work for a page is bounded, so a page may have fewer
/// alerts than asked for, or none, and still have a next page.
///
/// # Errors
/// [`DeskError::CaseOfErased`] for a case of erased alerts; when the store failed.
pub async fn list(
    node: &SharedNode,
    wanted: Wanted,
    before: Option<u64>,
    limit: usize,
    actor: &Actor,
) -> Result<Page, DeskError> {
    if wanted.state != State::Live && !wanted.case_ref.is_empty() {
        return Err(DeskError::CaseOfErased);
    }
    let facet = wanted.facet(node, actor);
    let by = node.store.user_key(&actor.name);
    let look = Arc::new(Look { node: node.clone(), wanted, facet, by, limit });
    let (mut page, mut at) = (Page::default(), At::before(before.unwrap_or(u64::MAX)));
    // A state for some places each: contents that are erased meanwhile have few read again.
    while !at.ended {
        let (look, listed) = (Arc::clone(&look), page.alerts.len());
        let (more, next) = node.store.read(move |now| look.page(now, at, listed)).await?;
        page.alerts.extend(more);
        at = next;
    }
    page.next = at.more.then_some(at.before);
    let event = Event::new(Operation::Consult, "consult.listed", &actor.name);
    log(node, event.with("count", page.alerts.len()), None).await?;
    Ok(page)
}

/// What is looked for.
struct Look {
    node: SharedNode,
    wanted: Wanted,
    facet: Facet,
    by: IndexKey,
    limit: usize,
}

/// How far a look has come.
#[derive(Clone, Copy)]
struct At {
    /// Places before this entry of the log are still to be looked at.
    before: u64,
    opened: usize,
    looked_at: usize,
    ended: bool,
    /// It ended before the places did.
    more: bool,
}

impl At {
    fn before(before: u64) -> Self {
        Self { before, opened: 0, looked_at: 0, ended: false, more: false }
    }

    fn is_enough(&self) -> bool {
        self.opened >= OPENED_MAX || self.looked_at >= LOOKED_AT_MAX
    }
}

impl Look {
    /// The next places; `listed` were found before.
    fn page(
        &self,
        now: &Snapshot<'_>,
        mut at: At,
        listed: usize,
    ) -> Result<(Vec<Listed>, At), DeskError> {
        let Self { node, wanted, .. } = self;
        let too_old = wanted.since.map(|since| since.plus(-SET_BACK_S));
        let places = now.recent(&self.facet, at.before, PAGE)?;
        at.ended = places.len() < PAGE;
        let mut found = Vec::new();
        for (entry, place) in places {
            if listed + found.len() >= self.limit || at.is_enough() {
                return Ok((found, At { ended: true, more: true, ..at }));
            }
            if too_old.is_some_and(|oldest| place.at < oldest) {
                return Ok((found, At { ended: true, ..at }));
            }
            at = At { before: entry, looked_at: at.looked_at + 1, ..at };
            if !wanted.may_fit(&place) || wanted.mine && !created_by(now, &place.id, self.by)? {
                continue;
            }
            at.opened += 1;
            found.extend(held(node, now, place)?.filter(|listed| wanted.fits(listed)));
        }
        Ok((found, at))
    }
}

fn created_by(now: &Snapshot<'_>, id: &AlertId, by: IndexKey) -> Result<bool, StoreError> {
    let change = now.get::<LastChanges>(id)?;
    Ok(change.is_some_and(|change| change.by == Some(by)))
}

/// What is held of an alert.
fn held(node: &Node, now: &Snapshot<'_>, place: RecentAlert) -> Result<Option<Listed>, DeskError> {
    let RecentAlert { id, at: changed_at } = place;
    let live = |id, version, own, confirmed, expires_at, summary: Summary| {
        let Summary { category, urgency } = summary;
        let (state, expires_at) = (State::Live, Some(expires_at));
        Listed { id, version, state, own, category, urgency, confirmed, changed_at, expires_at }
    };
    if let Some(own) = now.get::<Own>(&id)? {
        let summary = summary_of_own(now, &id, &own)?;
        return Ok(Some(live(id, own.version, true, true, own.expires_at, summary)));
    }
    if let Some(copy) = now.get::<Copies>(&id)? {
        let summary = summary_of_copy(now, &id, &copy)?;
        let confirmed = exchange::lease_of(node, now, &id, copy.version)?.0;
        return Ok(Some(live(id, copy.version, false, confirmed, copy.expires_at, summary)));
    }
    let tombstone = now.get::<Tombstones>(&id)?;
    Ok(tombstone.map(|tombstone| Listed {
        own: *id.authority() == node.authority,
        id,
        version: tombstone.version,
        state: State::Erased(tombstone.erased),
        category: None,
        urgency: None,
        confirmed: true,
        changed_at: tombstone.at,
        expires_at: None,
    }))
}
