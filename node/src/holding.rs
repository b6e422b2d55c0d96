//! What the node holds of an alert: sealed under its own key, found by its match keys, erased when
//! it expires. Only this module writes and forgets content, of own alerts and of copies.

mod notice;

pub use notice::{NOTICES_A_DAY_MAX, NOTICES_HELD_MAX, NOTICES_OPEN_MAX};
pub(crate) use notice::{
    NoticeKey, SealedAcknowledgement, SealedNotice, erase_notice, is_sent, note_stopped,
    note_taken, outgoing_acknowledgement, outgoing_notice, read_notice, signed_notice,
};

use bytes::Bytes;

use crate::alert::{AlertError, View, read};
use crate::id::{AlertId, FeedSeq, Timestamp, Version};
use crate::matching::{self, MatchKey};
use crate::node::Node;
use crate::store::{
    Change, Copies, Erased, Expiries, HeldCopy, IndexKey, MatchEntry, Matches, Own, OwnAlert, Read,
    SealedToken, Slot, SlotId, Snapshot, StoreError, Summary, Tombstone, Tombstones, Tx,
    associated_data,
};
use crate::text::from_utf8;

/// A view sealed under a fresh key, ready for a transaction.
pub(crate) struct Sealed {
    /// What was sealed.
    pub(crate) view: View,
    /// Its key.
    pub(crate) slot: Slot,
    /// Keyed hash of its case.
    pub(crate) case: Option<IndexKey>,
    token: Bytes,
    keys: Vec<(IndexKey, &'static str)>,
}

impl Sealed {
    /// Seals an own alert.
    pub(crate) fn own(node: &Node, view: View) -> Self {
        Self::new(node, view, true)
    }

    /// Seals a received copy.
    pub(crate) fn copy(node: &Node, view: View) -> Self {
        Self::new(node, view, false)
    }

    fn new(node: &Node, view: View, own: bool) -> Self {
        let store = &node.store;
        let slot = store.new_slot();
        let token = store.seal(
            &slot,
            &associated_data(own, &view.head.id),
            Summary::of(&view),
            view.token.as_bytes(),
        );
        let index = |key: &MatchKey| (store.index_key(&key.bytes()), key.kind());
        let keys = matching::match_keys(&view).iter().map(index).collect();
        let case = case_key(node, &view);
        Self { view, slot, case, token, keys }
    }

    /// When the alert expires: exactly if that is disclosed, else at the end of its month.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.view.content.expires_at().unwrap_or(self.view.head.expires_at)
    }

    /// Its match keys, to delete them with it.
    pub(crate) fn match_keys(&self) -> Vec<IndexKey> {
        self.keys.iter().map(|(key, _)| *key).collect()
    }

    /// Enters it as an own alert at this place of the feed; a version before was
    /// [forgotten](forget_own) in the same transaction.
    pub(crate) fn enter_own(&self, tx: &mut Tx<'_>, feed: FeedSeq, recovered: bool) {
        let token = self.keep(tx, true);
        let own = OwnAlert {
            version: self.view.head.version,
            jwt_digest: self.view.jwt_digest,
            claims: self.view.claims,
            feed,
            expires_at: self.expires_at(),
            slot: self.slot.id(),
            token,
            match_keys: self.match_keys(),
            recovered,
        };
        tx.insert::<Own>(&self.view.head.id, &own);
    }

    /// Writes key, token, index and expiry with `tx`. The caller writes the record itself, which
    /// says where the token lies.
    pub(crate) fn keep(&self, tx: &mut Tx<'_>, own: bool) -> SealedToken {
        let id = &self.view.head.id;
        let token = tx.keep_slot(&self.slot, &self.token);
        for (key, field) in &self.keys {
            let entry = MatchEntry { field: (*field).to_owned(), own };
            tx.put::<Matches>(&(*key, id.clone()), &entry);
        }
        tx.put::<Expiries>(&(self.expires_at(), id.clone()), &());
        token
    }
}

/// Keyed hash of the case of an alert, if that is disclosed.
pub(crate) fn case_key(node: &Node, view: &View) -> Option<IndexKey> {
    view.content.case_ref.as_deref().map(|case_ref| node.store.case_key(case_ref))
}

/// Deletes an own alert: its record, its place in the index, and its key.
pub(crate) fn forget_own(tx: &mut Tx<'_>, id: &AlertId, own: &OwnAlert) {
    tx.delete::<Own>(id);
    forget(tx, id, &own.match_keys, own.expires_at);
    tx.erase_slot(own.slot, &own.token);
}

/// Deletes a copy: its record, its place in the index, and its key.
pub(crate) fn forget_copy(tx: &mut Tx<'_>, id: &AlertId, copy: &HeldCopy) {
    tx.delete::<Copies>(id);
    forget(tx, id, &copy.match_keys, copy.expires_at);
    tx.erase_slot(copy.slot, &copy.token);
}

fn forget(tx: &mut Tx<'_>, id: &AlertId, keys: &[IndexKey], end: Timestamp) {
    for key in keys {
        tx.delete::<Matches>(&(*key, id.clone()));
    }
    tx.delete::<Expiries>(&(end, id.clone()));
}

/// Erases the content of an own alert and leaves a tombstone, with the last word on it where peers
/// are told one.
pub(crate) fn erase_own(
    tx: &mut Tx<'_>,
    id: &AlertId,
    own: &OwnAlert,
    erased: Erased,
    statement: Option<String>,
) {
    forget_own(tx, id, own);
    let (version, jwt_digest, at) = (own.version, Some(own.jwt_digest), tx.now());
    tx.put::<Tombstones>(id, &Tombstone { erased, version, jwt_digest, at, statement });
    tx.announce(Change::Alert { kind: erased.as_str(), id: id.clone(), version });
}

/// Erases the content of a received copy and leaves a tombstone; returns whether a copy was held.
pub(crate) fn erase_copy(
    tx: &mut Tx<'_>,
    id: &AlertId,
    erased: Erased,
    version: Version,
    statement: Option<String>,
) -> Result<bool, StoreError> {
    let held = tx.get::<Copies>(id)?;
    if let Some(held) = &held {
        forget_copy(tx, id, held);
    }
    let before = tx.get::<Tombstones>(id)?;
    let jwt_digest = held.as_ref().map(|held| held.jwt_digest);
    let jwt_digest = jwt_digest.or(before.and_then(|before| before.jwt_digest));
    let at = tx.now();
    tx.put::<Tombstones>(id, &Tombstone { erased, version, jwt_digest, at, statement });
    tx.announce(Change::Alert { kind: erased.as_str(), id: id.clone(), version });
    Ok(held.is_some())
}

/// An own alert with all its claims, as `now` holds it.
pub fn read_own(now: &Snapshot<'_>, id: &AlertId, own: &OwnAlert) -> Result<View, HoldingError> {
    open(now, own.slot, true, id, &own.token)
}

/// A copy with the claims that its issuer disclosed, as `now` holds it.
pub fn read_copy(now: &Snapshot<'_>, id: &AlertId, copy: &HeldCopy) -> Result<View, HoldingError> {
    open(now, copy.slot, false, id, &copy.token)
}

/// What lists say of an own alert; opens no more than that, unless an earlier version sealed it.
pub(crate) fn summary_of_own(
    now: &Snapshot<'_>,
    id: &AlertId,
    own: &OwnAlert,
) -> Result<Summary, HoldingError> {
    match now.summary(own.slot, &associated_data(true, id), &own.token)? {
        Some(summary) => Ok(summary),
        None => Ok(Summary::of(&read_own(now, id, own)?)),
    }
}

/// As [`summary_of_own`], of a copy.
pub(crate) fn summary_of_copy(
    now: &Snapshot<'_>,
    id: &AlertId,
    copy: &HeldCopy,
) -> Result<Summary, HoldingError> {
    match now.summary(copy.slot, &associated_data(false, id), &copy.token)? {
        Some(summary) => Ok(summary),
        None => Ok(Summary::of(&read_copy(now, id, copy)?)),
    }
}

/// The own alert or the copy with this id, and whether it is our own.
pub fn read_held(now: &Snapshot<'_>, id: &AlertId) -> Result<Option<(View, bool)>, HoldingError> {
    if let Some(own) = now.get::<Own>(id)? {
        return Ok(Some((read_own(now, id, &own)?, true)));
    }
    let Some(copy) = now.get::<Copies>(id)? else { return Ok(None) };
    Ok(Some((read_copy(now, id, &copy)?, false)))
}

/// A copy as its issuer signed it.
pub(crate) fn copy_text(
    now: &Snapshot<'_>,
    id: &AlertId,
    copy: &HeldCopy,
) -> Result<String, StoreError> {
    text(now, copy.slot, false, id, &copy.token)
}

fn open(
    now: &Snapshot<'_>,
    slot: SlotId,
    own: bool,
    id: &AlertId,
    token: &SealedToken,
) -> Result<View, HoldingError> {
    let text = text(now, slot, own, id, token)?;
    read(&text).map_err(|error| HoldingError::Alert(id.clone(), error))
}

fn text(
    now: &Snapshot<'_>,
    slot: SlotId,
    own: bool,
    id: &AlertId,
    token: &SealedToken,
) -> Result<String, StoreError> {
    from_utf8(now.unseal(slot, &associated_data(own, id), token)?)
        .map_err(|_| StoreError::Corrupt("a token is no text".to_owned()))
}

/// Why held content can't be read; each is a fault of this node.
#[derive(Debug, thiserror::Error)]
pub enum HoldingError {
    /// A token in the store is not an alert.
    #[error("the token of {0} in the store can't be read: {1}")]
    Alert(AlertId, AlertError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
