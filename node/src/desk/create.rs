//! An officer's draft becomes an alert: checked, signed, sealed, indexed, and given to the feed in one commit.

use super::search::{HITS_MAX, matches_of};
use super::{DeskError, Issued, reason};
use crate::alert::{self, Draft, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::{Sealed, read_held};
use crate::id::{AlertId, Version};
use crate::matching::{MATCH_KEYS_MAX, Quality, content_keys};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{Change, Committed, IndexKey, Matches, Own, StoreError, Tombstones, Tx};

/// Tries for an id that was never given before: two in a row collide once in 10¹⁰ alerts.
const ID_TRIES: usize = 8;

/// Creates an alert from a draft (JSON). `confirmation` is the officer's reason to go on where
/// [`DeskError::ConfirmationNeeded`] was answered; else empty.
///
/// # Errors
/// When the draft is refused, incompatible, or cannot be kept.
pub async fn create(
    node: &SharedNode,
    draft: &str,
    confirmation: &str,
    actor: &Actor,
) -> Result<Issued, DeskError> {
    let draft = Draft::parse(draft)?;
    create_draft(node, &draft, confirmation, actor, None).await
}

/// As [`create`], for a checked draft; an import notes the draft's digest, so that it makes nothing twice.
pub(super) async fn create_draft(
    node: &SharedNode,
    draft: &Draft,
    confirmation: &str,
    actor: &Actor,
    imported: Option<IndexKey>,
) -> Result<Issued, DeskError> {
    let conflict = conflicts(node, draft, None, confirmation)?;
    let (now, year) = (node.clock.now(), node.clock.now().date().year());
    let id = unused_id(node, u16::try_from(year).unwrap_or_default())?;
    let view = alert::issue(draft, id.clone(), 1, None, now, &node.statement_key, &node.entropy)?;
    let sealed = sealed(node, view)?;
    let event = conflict.noted(created_event(&sealed.view, actor));
    let committed = node.store.commit_growing(move |tx| {
        may_issue(tx)?;
        conflict.unchanged(tx)?;
        if let Some(key) = imported {
            super::import::note(tx, key, &sealed.view.head.id)?;
        }
        enter(tx, &sealed, None, "created");
        Ok::<_, DeskError>(Committed::new((), event))
    });
    committed.await?;
    Ok(Issued { id, version: 1, warnings: vec![] })
}

fn unused_id(node: &Node, year: u16) -> Result<AlertId, DeskError> {
    for _ in 0..ID_TRIES {
        let id = AlertId::random(&node.authority, year, &node.entropy);
        let used =
            node.store.get::<Own>(&id)?.is_some() || node.store.get::<Tombstones>(&id)?.is_some();
        if !used {
            return Ok(id);
        }
    }
    Err(StoreError::Corrupt("no unused alert id was found".to_owned()).into())
}

fn created_event(view: &View, actor: &Actor) -> Event {
    Event::new(Operation::Collect, "alert.created", &actor.name)
        .alert(&view.head.id)
        .with("version", view.head.version)
        .with("jwt", view.jwt_digest.to_string())
}

/// Nothing is issued while the node knows that it forgot what it issued.
pub(super) fn may_issue(tx: &Tx<'_>) -> Result<(), DeskError> {
    if exchange::is_stopped(tx)? { Err(DeskError::LostState) } else { Ok(()) }
}

/// Enters the newest version of an own alert, in place of the one at `freed`.
pub(super) fn enter(tx: &mut Tx<'_>, sealed: &Sealed, freed: Option<u64>, kind: &'static str) {
    let head = &sealed.view.head;
    let feed = exchange::feed(tx, &head.id, false, freed);
    sealed.enter_own(tx, feed, false);
    tx.announce(Change::Alert { kind, id: head.id.clone(), version: head.version });
}

/// What speaks against a check of the people in a draft, and what the officer said to it.
pub(super) struct Conflicts {
    keys: Vec<IndexKey>,
    seen: Vec<AlertId>,
    confirmed: Option<(AlertId, String)>,
    own: Option<AlertId>,
}

impl Conflicts {
    /// Refuses when another alert with the same match keys came in between.
    pub(super) fn unchanged(&self, tx: &Tx<'_>) -> Result<(), DeskError> {
        for key in &self.keys {
            for ((_, id), _) in tx.scan::<Matches>(key, None, HITS_MAX)? {
                if !self.seen.contains(&id) && Some(&id) != self.own.as_ref() {
                    return Err(DeskError::Raced(id));
                }
            }
        }
        Ok(())
    }

    /// The event, with the decision to go on.
    pub(super) fn noted(&self, event: Event) -> Event {
        match &self.confirmed {
            Some((id, why)) => {
                event.with("in_spite_of", id.to_string()).with("confirmation", why.as_str())
            }
            None => event,
        }
    }
}

/// Looks for alerts that show the people in a check as missing or protected (2018/1862: incompatible alerts).
pub(super) fn conflicts(
    node: &Node,
    draft: &Draft,
    own: Option<&AlertId>,
    confirmation: &str,
) -> Result<Conflicts, DeskError> {
    let own = own.cloned();
    let mut found = Conflicts { keys: vec![], seen: vec![], confirmed: None, own };
    if !draft.content().category.is_some_and(|category| category.is_check()) {
        return Ok(found);
    }
    for key in content_keys(draft.content()) {
        let index = node.store.index_key(&key.bytes());
        let (matched, more) = matches_of(node, &index)?;
        for (id, entry) in matched {
            if Some(&id) == found.own.as_ref() || found.seen.contains(&id) {
                continue;
            }
            if shows_protected(node, &id)? {
                if entry.own && Quality::of(key.kind()) >= Quality::Strong {
                    return Err(DeskError::Incompatible(id));
                }
                if confirmation.is_empty() {
                    return Err(DeskError::ConfirmationNeeded(id));
                }
                let why = reason("the confirmation", confirmation)?.to_owned();
                found.confirmed = Some((id.clone(), why));
            }
            found.seen.push(id);
        }
        if !more {
            found.keys.push(index);
        }
    }
    Ok(found)
}

fn shows_protected(node: &Node, id: &AlertId) -> Result<bool, DeskError> {
    let held = read_held(node, id)?;
    Ok(held.is_some_and(|(view, _)| {
        let people = view.content.subjects.iter().filter_map(|subject| subject.category);
        people.into_iter().any(|category| category.protected())
    }))
}

/// Version `version` of an own alert, signed and sealed.
pub(super) fn next_version(
    node: &Node,
    draft: &Draft,
    before: &View,
    version: Version,
) -> Result<Sealed, DeskError> {
    let (id, previous) = (before.head.id.clone(), Some(before.jwt_digest));
    let (now, key) = (node.clock.now(), &node.statement_key);
    let view = alert::issue(draft, id, version, previous, now, key, &node.entropy)?;
    sealed(node, view)
}

fn sealed(node: &Node, view: View) -> Result<Sealed, DeskError> {
    let sealed = Sealed::own(node, view);
    let few = sealed.match_keys().len() <= MATCH_KEYS_MAX;
    if few { Ok(sealed) } else { Err(DeskError::TooManyMatchKeys) }
}
