//! Watching: the changes here, from a place in the log on. The log is the only source, so a watch
//! misses nothing, even across restarts.

use std::str::FromStr;

use super::DeskError;
use crate::alert::{Category, Urgency};
use crate::audit::{Changed, Entry, Event, Operation, leaf_hash};
use crate::holding::read_held;
use crate::id::{AlertId, NoticeId, Timestamp, Version};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{Notices, Read, Snapshot, StoreError, Tombstones};

/// Entries of the log read at a time.
const PAGE: usize = 512;

/// Bytes of a leaf's hash in a place: another log has another hash there.
const HASH_BYTES: usize = 8;

/// A place between two entries of this node's log. It names the entry before it, so that a cut or
/// restore of the log is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    next: u64,
    after: [u8; HASH_BYTES],
}

impl Place {
    fn behind(index: u64, leaf: &[u8]) -> Self {
        let hash = leaf_hash(leaf);
        let after = hash.0.first_chunk().copied().unwrap_or_default();
        Self { next: index + 1, after }
    }

    /// The end of the log as it is now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn end(node: &Node) -> Result<Self, StoreError> {
        Self::at(node, node.store.log().size())
    }

    fn at(node: &Node, next: u64) -> Result<Self, StoreError> {
        let Some(index) = next.checked_sub(1) else {
            return Ok(Self { next, after: [0; HASH_BYTES] });
        };
        let leaf = node.store.leaves(index, 1)?.pop();
        let (index, leaf) = leaf
            .ok_or_else(|| StoreError::Corrupt(format!("entry {index} of the log is missing")))?;
        Ok(Self::behind(index, &leaf))
    }

    /// Entry of the log that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.next, hex::encode(self.after))
    }
}

impl FromStr for Place {
    type Err = DeskError;

    fn from_str(text: &str) -> Result<Self, DeskError> {
        let (next, hash) = text.split_once('-').ok_or(DeskError::PlaceUnknown)?;
        let mut after = [0; HASH_BYTES];
        hex::decode_to_slice(hash, &mut after).map_err(|_| DeskError::PlaceUnknown)?;
        let next = next.parse().map_err(|_| DeskError::PlaceUnknown)?;
        Ok(Self { next, after })
    }
}

/// What a watch tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An alert changed.
    Alert(SeenAlert),
    /// A notice came, or was acknowledged.
    Notice(SeenNotice),
}

/// A notice that came from a peer, or that a peer acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNotice {
    /// `notice_received` or `notice_acknowledged`.
    pub kind: &'static str,
    /// Which.
    pub id: NoticeId,
    /// The alert that it is about, while it is held.
    pub about: Option<AlertId>,
    /// When.
    pub at: Timestamp,
    /// Behind this change: where to go on.
    pub place: Place,
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAlert {
    /// What happened.
    pub kind: Changed,
    /// To which.
    pub id: AlertId,
    /// Its version then, if the log says so; otherwise its present one.
    pub version: Version,
    /// When.
    pub changed_at: Timestamp,
    /// The category of the alert as it is held now; none if it is erased.
    pub category: Option<Category>,
    /// The urgency, like the category.
    pub urgency: Option<Urgency>,
    /// The place after this change, from which to continue.
    pub place: Place,
}

/// Begins to watch, from a place on or from now on. This is logged, like every look.
///
/// # Errors
/// [`DeskError::PlaceUnknown`] when this node's log does not have the place; when the store failed.
pub async fn watch(
    node: &SharedNode,
    from: Option<Place>,
    actor: &Actor,
) -> Result<Place, DeskError> {
    let end = Place::end(node)?;
    let from = from.unwrap_or(end);
    if from.next > node.store.log().size() || Place::at(node, from.next)? != from {
        return Err(DeskError::PlaceUnknown);
    }
    let event = Event::new(Operation::Consult, "consult.watched", &actor.name);
    super::read::log(node, event.with("from", from.next), None).await?;
    Ok(from)
}

/// The changes in the next entries of the log after `from`, and the place after these entries;
/// `None` when `from` is the end.
///
/// # Errors
/// When the store failed.
pub async fn changes(
    node: &SharedNode,
    from: Place,
) -> Result<Option<(Vec<Seen>, Place)>, DeskError> {
    if from.next >= node.store.log().size() {
        return Ok(None);
    }
    let here = node.clone();
    node.store.read(move |now| look(&here, now, &from)).await
}

fn look(
    node: &Node,
    now: &Snapshot<'_>,
    from: &Place,
) -> Result<Option<(Vec<Seen>, Place)>, DeskError> {
    let end = now.log().size();
    let leaves = node.store.leaves(from.next, PAGE)?;
    let mut place = from.clone();
    let mut found = Vec::new();
    for (index, leaf) in leaves.into_iter().take_while(|(index, _)| *index < end) {
        place = Place::behind(index, &leaf);
        if let Ok(entry) = Entry::parse(&leaf) {
            found.extend(seen(now, entry, &place)?);
        }
    }
    Ok((place != *from).then_some((found, place)))
}

fn seen(now: &Snapshot<'_>, entry: Entry, place: &Place) -> Result<Option<Seen>, DeskError> {
    if let Some(notice) = seen_notice(now, &entry, place)? {
        return Ok(Some(Seen::Notice(notice)));
    }
    Ok(seen_alert(now, entry, place)?.map(Seen::Alert))
}

fn seen_notice(
    now: &Snapshot<'_>,
    entry: &Entry,
    place: &Place,
) -> Result<Option<SeenNotice>, DeskError> {
    let kind = match entry.kind.as_str() {
        "notice.received" => "notice_received",
        "notice.acknowledgement_received" => "notice_acknowledged",
        _ => return Ok(None),
    };
    let id = entry.facts.get("notice").and_then(serde_json::Value::as_str);
    let id = id.and_then(|id| id.parse::<NoticeId>().ok());
    let (Some(id), Some(peer)) = (id, entry.peer.clone()) else { return Ok(None) };
    let held = now.get::<Notices>(&(peer, id.clone()))?;
    let about = held.and_then(|held| held.about);
    Ok(Some(SeenNotice { kind, id, about, at: entry.at, place: place.clone() }))
}

fn seen_alert(
    now: &Snapshot<'_>,
    entry: Entry,
    place: &Place,
) -> Result<Option<SeenAlert>, DeskError> {
    let nothing = |name| entry.facts.get(name).and_then(serde_json::Value::as_bool) == Some(false);
    let (Some(kind), Some(id)) = (Changed::of(&entry.kind), entry.alert.clone()) else {
        return Ok(None);
    };
    if kind == Changed::Retracted && nothing("held") || kind == Changed::Recovered && nothing("new")
    {
        return Ok(None);
    }
    let held = read_held(now, &id)?.map(|(view, _)| view);
    let said = entry.facts.get("version").and_then(serde_json::Value::as_u64);
    let said = said.and_then(|version| Version::try_from(version).ok());
    let version = match (said, &held) {
        (Some(version), _) => version,
        (None, Some(view)) => view.head.version,
        (None, None) => now.get::<Tombstones>(&id)?.map_or(0, |tombstone| tombstone.version),
    };
    let (category, urgency) =
        held.map_or((None, None), |view| (view.content.category, view.content.urgency));
    let (changed_at, place) = (entry.at, place.clone());
    Ok(Some(SeenAlert { kind, id, version, changed_at, category, urgency, place }))
}
