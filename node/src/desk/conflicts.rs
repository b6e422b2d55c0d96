//! What other alerts say about the people and things in a draft, and how the officer decided.

use super::read::is_live;
use super::search::{HITS_MAX, matches_of};
use super::{DeskError, named, reason};
use crate::alert::{Draft, IdentifierKind};
use crate::audit::Event;
use crate::holding::read_held;
use crate::id::AlertId;
use crate::matching::{Quality, content_keys};
use crate::node::Node;
use crate::store::{IndexKey, Matches, OwnAlert, Read, Scan, Snapshot, Tx};

/// An officer's reasons for going on; empty if none was given.
#[derive(Clone, Copy)]
pub(super) struct Confirmed<'a> {
    protected: &'a str,
    same: &'a str,
}

impl<'a> Confirmed<'a> {
    /// A reason given for one draft, which its author looked at.
    pub(super) fn everything(reason: &'a str) -> Self {
        Self { protected: reason, same: reason }
    }

    /// A reason given for many drafts; it does not cover checks of protected persons, which are
    /// decided one by one.
    pub(super) fn same_identifiers(reason: &'a str) -> Self {
        Self { protected: "", same: reason }
    }
}

/// The conflicts found in other alerts.
pub(super) struct Conflicts {
    /// The transaction looks at these again.
    keys: Vec<IndexKey>,
    seen: Vec<AlertId>,
    own: Option<AlertId>,
    is_check: bool,
    /// Shows the person of a check as missing or protected.
    protected: Option<AlertId>,
    /// Own alerts with the same document, VIN or plate, and which of these it is.
    same: Vec<AlertId>,
    fields: Vec<&'static str>,
    why: String,
}

impl Conflicts {
    /// Refuses when another alert with the same match keys came in between.
    pub(super) fn unchanged(&self, tx: &Tx<'_>) -> Result<(), DeskError> {
        for key in &self.keys {
            for ((_, id), entry) in tx.scan(Scan::<Matches>::of(key), HITS_MAX)? {
                let counts = self.is_check || entry.own;
                if counts && !self.seen.contains(&id) && Some(&id) != self.own.as_ref() {
                    return Err(DeskError::Raced(id));
                }
            }
        }
        Ok(())
    }

    /// Adds the decision to go on to the event.
    pub(super) fn noted(&self, event: Event) -> Event {
        let event = match &self.protected {
            Some(id) => event.with("in_spite_of", id.to_string()),
            None => event,
        };
        let event = match self.same.as_slice() {
            [] => event,
            same => event.with("same_identifier_as", named(same)),
        };
        match self.why.as_str() {
            "" => event,
            why => event.with("override_reason", why),
        }
    }

    /// What to tell the author of the draft.
    pub(super) fn warnings(&self) -> Vec<String> {
        match self.same.as_slice() {
            [] => vec![],
            same => {
                let fields = self.fields.join(" and ");
                vec![format!("the same {fields} is in the own alert {}", named(same))]
            }
        }
    }

    fn note_protected(
        &mut self,
        id: &AlertId,
        sure: bool,
        override_reason: &str,
    ) -> Result<(), DeskError> {
        if sure {
            return Err(DeskError::Incompatible(id.clone()));
        }
        if override_reason.is_empty() {
            return Err(DeskError::ConfirmationNeeded(id.clone()));
        }
        reason("a reason with --override-reason", override_reason)?.clone_into(&mut self.why);
        self.protected = Some(id.clone());
        Ok(())
    }

    fn note_same(&mut self, id: &AlertId, field: &'static str) {
        if !self.same.contains(id) {
            self.same.push(id.clone());
        }
        if !self.fields.contains(&field) {
            self.fields.push(field);
        }
    }
}

/// Looks for alerts that show the people in a check as missing or protected (2018/1862:
/// incompatible alerts), and for live own alerts with the same document, VIN or plate. `held` is
/// the alert that the draft updates: conflicts of the version before were decided then.
pub(super) fn conflicts(
    node: &Node,
    now: &Snapshot<'_>,
    draft: &Draft,
    held: Option<(&AlertId, &OwnAlert)>,
    confirmed: Confirmed<'_>,
) -> Result<Conflicts, DeskError> {
    let mut found = Conflicts {
        keys: vec![],
        seen: vec![],
        own: held.map(|(id, _)| id.clone()),
        is_check: draft.content().category.is_some_and(|category| category.is_check()),
        protected: None,
        same: vec![],
        fields: vec![],
        why: String::new(),
    };
    for key in content_keys(draft.content()) {
        let index = node.store.index_key(&key.bytes());
        let is_new = held.is_none_or(|(_, own)| !own.match_keys.contains(&index));
        let tells = is_new && tells_apart(key.kind());
        if !tells && !found.is_check {
            continue;
        }
        let (matched, more) = matches_of(node, now, &index)?;
        for (id, entry) in matched {
            if Some(&id) == found.own.as_ref() {
                continue;
            }
            if found.is_check && !found.seen.contains(&id) && shows_protected(now, &id)? {
                let sure = entry.own && Quality::of(key.kind()) >= Quality::Strong;
                found.note_protected(&id, sure, confirmed.protected)?;
            }
            if tells && entry.own && is_live(node, now, &id)? {
                found.note_same(&id, key.kind());
            }
            if !found.seen.contains(&id) {
                found.seen.push(id);
            }
        }
        if !more {
            found.keys.push(index);
        }
    }
    if !found.same.is_empty() {
        if confirmed.same.is_empty() {
            return Err(DeskError::SameIdentifier { ids: found.same, fields: found.fields });
        }
        reason("a reason with --override-reason", confirmed.same)?.clone_into(&mut found.why);
    }
    Ok(found)
}

/// Whether two alerts don't share a value of this field by chance, since only one person or vehicle
/// has it.
fn tells_apart(field: &str) -> bool {
    let kind = field.parse::<IdentifierKind>().ok();
    kind.is_some_and(|kind| {
        kind.is_document() || matches!(kind, IdentifierKind::Vin | IdentifierKind::Plate)
    })
}

fn shows_protected(now: &Snapshot<'_>, id: &AlertId) -> Result<bool, DeskError> {
    let held = read_held(now, id)?;
    Ok(held.is_some_and(|(view, _)| view.people().iter().any(|person| person.protected())))
}
