//! What is held of a notice: sealed under a key of its own, counted, erased after a year. The one
//! place that writes and forgets notices, sent and received.

use bytes::Bytes;

use crate::id::{AlertId, AuthorityId, Digest, FeedSeq, NoticeId, Timestamp};
use crate::jose;
use crate::node::Node;
use crate::notice::{ACKNOWLEDGEMENT_TYP, Acknowledgement, NOTICE_TYP, Notice, ends_at};
use crate::store::{
    Acknowledged, Change, HeldNotice, NoticeCounts, NoticeEnds, NoticeTallies, Notices, Read, Slot,
    Snapshot, StoreError, Summary, Tally, Tx, acknowledgement_data, notice_data,
};
use crate::text::from_utf8;

/// Notices that a peer may send in a day, with the words of it that replace earlier ones, and
/// notices that are sent to it: a desk reads no more, and a hostile peer costs it no more
/// attention.
pub const NOTICES_A_DAY_MAX: u32 = 100;

/// Notices of a peer that nobody here acknowledged yet, and that a peer did not take yet: what is
/// waiting longer than that is not read any more.
pub const NOTICES_OPEN_MAX: u32 = 500;

/// Notices of a peer that are held at all, and that are kept of those sent to it: 24 MiB of disk at
/// most.
pub const NOTICES_HELD_MAX: u32 = 2000;

/// Seconds in a day.
const DAY_S: i64 = 24 * 3600;

/// The other authority, and the notice.
pub(crate) type NoticeKey = (AuthorityId, NoticeId);

/// A notice that verified or was just signed, sealed under a fresh key, ready for a transaction.
pub(crate) struct SealedNotice {
    pub(crate) id: NoticeId,
    pub(crate) digest: Digest,
    about: Option<AlertId>,
    issued_at: Timestamp,
    slot: Slot,
    token: Bytes,
}

/// An acknowledgement, as [`SealedNotice`].
pub(crate) struct SealedAcknowledgement {
    pub(crate) id: NoticeId,
    pub(crate) digest: Digest,
    issued_at: Timestamp,
    slot: Slot,
    token: Bytes,
}

impl SealedNotice {
    /// Seals what was signed as `jws`.
    pub(crate) fn new(node: &Node, notice: &Notice, jws: &str) -> Self {
        let (id, slot) = (notice.jti.clone(), node.store.new_slot());
        let token = node.store.seal(&slot, &notice_data(&id), Summary::default(), jws.as_bytes());
        let (about, issued_at) = (notice.about.clone(), notice.issued_at());
        Self { id, digest: Digest::of(jws.as_bytes()), about, issued_at, slot, token }
    }

    fn enter(&self, tx: &mut Tx<'_>, other: &AuthorityId, held: HeldNotice) {
        let key = (other.clone(), self.id.clone());
        tx.insert::<Notices>(&key, &held);
        tx.put::<NoticeEnds>(&(ends_at(held.issued_at), key), &());
        tx.announce(Change::Notice);
    }

    fn held(&self, tx: &mut Tx<'_>) -> HeldNotice {
        let token = tx.keep_slot(&self.slot, &self.token);
        HeldNotice {
            about: self.about.clone(),
            issued_at: self.issued_at,
            at: tx.now(),
            by: String::new(),
            digest: self.digest,
            slot: self.slot.id(),
            token,
            feed: None,
            taken_at: None,
            acknowledged: None,
        }
    }

    /// Enters a notice that `by` sends to `to`, at this place of the feed; false when more to it
    /// wait, or are held, than may be.
    pub(crate) fn enter_sent(
        &self,
        tx: &mut Tx<'_>,
        to: &AuthorityId,
        by: &str,
        feed: FeedSeq,
    ) -> Result<bool, StoreError> {
        let has_room = change_tally(tx, to, |counts, now| counts.sent.add(now))?;
        if has_room {
            let held = HeldNotice { by: by.to_owned(), feed: Some(feed), ..self.held(tx) };
            self.enter(tx, to, held);
        }
        Ok(has_room)
    }

    /// Enters a notice of this node's own that `from` handed back: it has it.
    pub(crate) fn enter_recovered(
        &self,
        tx: &mut Tx<'_>,
        from: &AuthorityId,
        feed: FeedSeq,
    ) -> Result<(), StoreError> {
        change_tally(tx, from, |counts, _| counts.sent.held += 1)?;
        let taken_at = Some(tx.now());
        let held = HeldNotice { feed: Some(feed), taken_at, ..self.held(tx) };
        self.enter(tx, from, held);
        Ok(())
    }

    /// Enters a notice that `from` sent; false when more of it are open, or are held, than may be.
    pub(crate) fn enter_received(
        &self,
        tx: &mut Tx<'_>,
        from: &AuthorityId,
    ) -> Result<bool, StoreError> {
        let has_room = change_tally(tx, from, |counts, now| counts.received.add(now))?;
        if has_room {
            let held = self.held(tx);
            self.enter(tx, from, held);
        }
        Ok(has_room)
    }
}

impl SealedAcknowledgement {
    /// Seals what was signed as `jws`.
    pub(crate) fn new(node: &Node, said: &Acknowledgement, jws: &str) -> Self {
        let (id, slot) = (said.jti.clone(), node.store.new_slot());
        let token =
            node.store.seal(&slot, &acknowledgement_data(&id), Summary::default(), jws.as_bytes());
        let issued_at = Timestamp::from_seconds(said.iat);
        Self { id, digest: Digest::of(jws.as_bytes()), issued_at, slot, token }
    }

    /// Enters that a received notice was read by `by`; its word goes to the sender from this place
    /// of the feed.
    pub(crate) fn enter_sent(
        &self,
        tx: &mut Tx<'_>,
        to: &AuthorityId,
        by: &str,
        feed: FeedSeq,
        held: HeldNotice,
    ) -> Result<(), StoreError> {
        change_tally(tx, to, |counts, _| counts.received.close())?;
        self.enter(tx, to, held, (by.to_owned(), Some(feed)));
        Ok(())
    }

    /// Whether it is the first word on the notice, or was signed after the one that is held.
    pub(crate) fn is_newer(&self, held: &HeldNotice) -> bool {
        held.acknowledged.as_ref().is_none_or(|said| said.issued_at < self.issued_at)
    }

    /// Enters that `from` read a notice that was sent to it, in place of an earlier word; false
    /// when it replaces more today than it may.
    pub(crate) fn enter_received(
        &self,
        tx: &mut Tx<'_>,
        from: &AuthorityId,
        held: HeldNotice,
    ) -> Result<bool, StoreError> {
        if let Some(before) = &held.acknowledged {
            if !change_tally(tx, from, |counts, now| counts.received.count(now))? {
                return Ok(false);
            }
            tx.erase_slot(before.slot, &before.token);
        }
        self.enter(tx, from, held, (String::new(), None));
        Ok(true)
    }

    fn enter(
        &self,
        tx: &mut Tx<'_>,
        other: &AuthorityId,
        held: HeldNotice,
        (by, feed): (String, Option<FeedSeq>),
    ) {
        let token = tx.keep_slot(&self.slot, &self.token);
        let (digest, slot, issued_at) = (self.digest, self.slot.id(), self.issued_at);
        let acknowledged = Some(Acknowledged { issued_at, by, digest, slot, token, feed });
        let key = (other.clone(), self.id.clone());
        tx.put::<Notices>(&key, &HeldNotice { acknowledged, ..held });
        tx.announce(Change::Notice);
    }
}

impl Tally {
    /// One more that is open; false where there is no room for it.
    fn add(&mut self, now: Timestamp) -> bool {
        let has_room =
            self.open < NOTICES_OPEN_MAX && self.held < NOTICES_HELD_MAX && self.count(now);
        if has_room {
            self.held += 1;
            self.open += 1;
        }
        has_room
    }

    /// One more of today; false where the day has had its share.
    fn count(&mut self, now: Timestamp) -> bool {
        let day = now.seconds() / DAY_S;
        let today = if day == self.day { self.today } else { 0 };
        let has_room = today < NOTICES_A_DAY_MAX;
        if has_room {
            (self.today, self.day) = (today + 1, day);
        }
        has_room
    }

    fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    fn remove(&mut self, is_open: bool) {
        self.held = self.held.saturating_sub(1);
        if is_open {
            self.close();
        }
    }
}

fn change_tally<T>(
    tx: &mut Tx<'_>,
    other: &AuthorityId,
    change: impl FnOnce(&mut NoticeCounts, Timestamp) -> T,
) -> Result<T, StoreError> {
    let mut counts = tx.get::<NoticeTallies>(other)?.unwrap_or_default();
    let changed = change(&mut counts, tx.now());
    tx.put::<NoticeTallies>(other, &counts);
    Ok(changed)
}

/// The receipt for a notice came: it is at its receiver.
pub(crate) fn note_taken(tx: &mut Tx<'_>, key: &NoticeKey) -> Result<(), StoreError> {
    let Some(held) = tx.get::<Notices>(key)?.filter(|held| held.taken_at.is_none()) else {
        return Ok(());
    };
    close_sent(tx, key, &held)?;
    let taken_at = Some(tx.now());
    tx.put::<Notices>(key, &HeldNotice { taken_at, ..held });
    Ok(())
}

/// Whether this node sent the notice: its id names who did.
pub(crate) fn is_sent((other, id): &NoticeKey) -> bool {
    id.authority() != other
}

/// Whether nothing happened to it yet that ends its wait: it was not taken by the peer it was sent
/// to, nor stopped, or nobody here acknowledged it.
fn is_open(key: &NoticeKey, held: &HeldNotice) -> bool {
    if is_sent(key) {
        held.taken_at.is_none() && held.feed.is_some()
    } else {
        held.acknowledged.is_none()
    }
}

/// The peer was removed before it took the notice: it is not sent any more.
pub(crate) fn note_stopped(
    tx: &mut Tx<'_>,
    key: &NoticeKey,
    held: HeldNotice,
) -> Result<(), StoreError> {
    close_sent(tx, key, &held)?;
    tx.put::<Notices>(key, &HeldNotice { feed: None, ..held });
    Ok(())
}

/// The wait of a notice that was sent ends, unless it had ended: it may be stopped first, and be
/// known to be taken afterwards.
fn close_sent(tx: &mut Tx<'_>, key: &NoticeKey, held: &HeldNotice) -> Result<(), StoreError> {
    if is_open(key, held) {
        change_tally(tx, &key.0, |counts, _| counts.sent.close())?;
    }
    Ok(())
}

/// Erases a notice and the word that it was read.
pub(crate) fn erase_notice(
    tx: &mut Tx<'_>,
    key: &NoticeKey,
    held: &HeldNotice,
) -> Result<(), StoreError> {
    tx.delete::<Notices>(key);
    tx.delete::<NoticeEnds>(&(ends_at(held.issued_at), key.clone()));
    tx.erase_slot(held.slot, &held.token);
    if let Some(acknowledged) = &held.acknowledged {
        tx.erase_slot(acknowledged.slot, &acknowledged.token);
    }
    let was_open = is_open(key, held);
    change_tally(tx, &key.0, |counts, _| match is_sent(key) {
        true => counts.sent.remove(was_open),
        false => counts.received.remove(was_open),
    })
}

/// A notice as signed, to be sent; `None` when it is erased, or not to be sent any more.
pub(crate) fn outgoing_notice(
    now: &Snapshot<'_>,
    key: &NoticeKey,
) -> Result<Option<String>, StoreError> {
    let held = now.get::<Notices>(key)?.filter(|held| held.feed.is_some());
    held.map(|held| signed_notice(now, key, &held)).transpose()
}

/// As [`outgoing_notice`], the word that a notice was read.
pub(crate) fn outgoing_acknowledgement(
    now: &Snapshot<'_>,
    key: &NoticeKey,
) -> Result<Option<String>, StoreError> {
    let said = now.get::<Notices>(key)?.and_then(|held| held.acknowledged);
    let said = said.filter(|said| said.feed.is_some());
    said.map(|said| signed_acknowledgement(now, key, &said)).transpose()
}

/// A notice as signed.
pub(crate) fn signed_notice(
    now: &Snapshot<'_>,
    (_, id): &NoticeKey,
    held: &HeldNotice,
) -> Result<String, StoreError> {
    text(now.unseal(held.slot, &notice_data(id), &held.token)?)
}

fn signed_acknowledgement(
    now: &Snapshot<'_>,
    (_, id): &NoticeKey,
    said: &Acknowledged,
) -> Result<String, StoreError> {
    text(now.unseal(said.slot, &acknowledgement_data(id), &said.token)?)
}

fn text(bytes: Vec<u8>) -> Result<String, StoreError> {
    from_utf8(bytes).map_err(|_| StoreError::Corrupt("a notice is no text".to_owned()))
}

/// A notice and the word that it was read, opened.
pub(crate) fn read_notice(
    now: &Snapshot<'_>,
    key: &NoticeKey,
    held: &HeldNotice,
) -> Result<(Notice, Option<Acknowledgement>), StoreError> {
    let unreadable = |_| StoreError::Corrupt("a notice is not what was signed".to_owned());
    let notice = jose::peek(NOTICE_TYP, &signed_notice(now, key, held)?).map_err(unreadable)?;
    let Some(said) = &held.acknowledged else { return Ok((notice, None)) };
    let said = signed_acknowledgement(now, key, said)?;
    let said = jose::peek(ACKNOWLEDGEMENT_TYP, &said).map_err(unreadable)?;
    Ok((notice, Some(said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_has_room_for_a_day_for_what_is_open_and_for_what_is_held() {
        let day = |day: i64| Timestamp::from_seconds(day * DAY_S);
        let mut tally = Tally::default();
        for _ in 0..NOTICES_A_DAY_MAX {
            assert!(tally.add(day(1)));
        }
        assert!(!tally.add(day(1)), "a day has its bound");
        let mut today = 2;
        while tally.open < NOTICES_OPEN_MAX {
            today += i64::from(!tally.add(day(today)));
        }
        assert!(!tally.add(day(today + 1)), "so have those that wait");
        while tally.held < NOTICES_HELD_MAX {
            tally.close();
            today += 1;
            assert!(tally.add(day(today)));
        }
        tally.close();
        assert!(!tally.add(day(today + 1)), "and those that are held");
        tally.remove(false);
        assert!(tally.add(day(today + 1)));
    }
}
