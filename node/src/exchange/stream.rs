//! The stream to a peer: what begins, redirects and stops it inside a transaction.

use super::batch::chain_start;
use super::peer_log::settle_log;
use crate::audit::{Event, Operation};
use crate::id::{AlertId, AuthorityId, Epoch, FeedSeq, PolicyVersion, Timestamp, Version};
use crate::store::{
    Change, Feed, FeedEntry, Ledger, Meta, Offers, PAGE, Read, Scan, StoreError, StreamOut,
    StreamsOut, Subject, Sweep, To, Tx,
};

/// Most outgoing streams of one node: ten times the peers that it is sized for.
const STREAMS_MAX: usize = 1024;

/// Key in [`Meta`] of the policy version in force, eight big-endian bytes.
const POLICY_KEY: &str = "policy";

/// A new stream, or a new epoch of one, which decides the feed from its beginning.
pub(super) fn fresh(
    from: &AuthorityId,
    to: &AuthorityId,
    epoch: Epoch,
    policy: PolicyVersion,
    now: Timestamp,
) -> StreamOut {
    let start = chain_start(from, to, epoch);
    StreamOut {
        epoch,
        tail: 0,
        tail_chain: start,
        acked: 0,
        acked_chain: start,
        cursor: 0,
        sweep: None,
        sweeps: 0,
        swept_at: now,
        snapshot: true,
        halted: None,
        policy,
        receipt: String::new(),
    }
}

/// Gives a new version or withdrawal of `alert` its place in the feed, frees the place it had, and
/// wakes the dispatchers.
pub fn feed(tx: &mut Tx<'_>, alert: &AlertId, withdrawn: bool, freed: Option<FeedSeq>) -> FeedSeq {
    if let Some(place) = freed {
        tx.delete::<Feed>(&place);
    }
    let place = tx.next_feed();
    let subject = Subject::Alert(alert.clone());
    tx.put::<Feed>(&place, &FeedEntry { subject, to: To::Everyone, withdrawn });
    tx.announce(Change::Feed);
    place
}

/// Takes effect with a change of policy, in the same transaction: offers decided under an older
/// version are refused from here on, and every stream decides everything again, beginning with what
/// peers hold.
///
/// # Errors
/// When the store cannot be read.
pub fn sweep(tx: &mut Tx<'_>, version: PolicyVersion) -> Result<(), StoreError> {
    tx.put::<Meta>(&POLICY_KEY.to_owned(), &version.to_be_bytes().to_vec());
    let now = tx.now();
    for (peer, stream) in streams(tx)? {
        tx.put::<StreamsOut>(&peer, &StreamOut { policy: version, ..begin_sweep(stream, now) });
    }
    tx.announce(Change::Feed);
    Ok(())
}

/// Has the stream decide everything again.
pub(super) fn begin_sweep(stream: StreamOut, now: Timestamp) -> StreamOut {
    let (sweep, sweeps) = (Some(Sweep::Held(None)), stream.sweeps + 1);
    StreamOut { sweep, sweeps, swept_at: now, ..stream }
}

/// Takes effect when a peer becomes active, in the same transaction: its stream begins, or
/// continues and decides everything again.
///
/// # Errors
/// When the store cannot be read.
pub fn open_stream(
    tx: &mut Tx<'_>,
    from: &AuthorityId,
    peer: &AuthorityId,
) -> Result<(), StoreError> {
    let (policy, now) = (policy_version(tx)?, tx.now());
    settle_log(tx, peer)?;
    let stream = match tx.get::<StreamsOut>(peer)? {
        Some(held) => StreamOut { halted: None, policy, ..begin_sweep(held, now) },
        None => fresh(from, peer, 1, policy, now),
    };
    tx.put::<StreamsOut>(peer, &stream);
    tx.announce(Change::Feed);
    Ok(())
}

/// Stops one stream until a person acts, with a reason to show them.
pub fn halt(tx: &mut Tx<'_>, peer: &AuthorityId, reason: &str) -> Result<Event, StoreError> {
    if let Some(stream) = tx.get::<StreamsOut>(peer)? {
        let halted = StreamOut { halted: Some(reason.to_owned()), ..stream };
        tx.put::<StreamsOut>(peer, &halted);
    }
    tx.announce(Change::Peers);
    Ok(Event::new(Operation::Trust, "alarm.stream_halted", "node")
        .peer(peer)
        .with("reason", reason))
}

/// Forgets the offers of a stream whose epoch ends; the ledger keeps what they disclosed.
pub(super) fn drop_offers(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<(), StoreError> {
    let mut pages = Scan::<Offers>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(tx)? {
        page.iter().for_each(|(key, _)| tx.delete::<Offers>(key));
    }
    Ok(())
}

/// Whether a copy of an alert may outlive it at some peer: an older version that expires later,
/// whose update did not arrive.
///
/// # Errors
/// When the store cannot be read.
pub fn outlived(tx: &Tx<'_>, alert: &AlertId, last: Version) -> Result<bool, StoreError> {
    for (peer, _) in streams(tx)? {
        let ledger = tx.get::<Ledger>(&(peer, Subject::Alert(alert.clone())))?;
        if ledger.is_some_and(|ledger| ledger.may_outlive(last)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of the epoch after `stream`'s: the clock's seconds, so that a node that forgot an
/// epoch does not use its number again.
pub(super) fn next_epoch(tx: &Tx<'_>, stream: &StreamOut) -> Epoch {
    (stream.epoch + 1).max(tx.now().seconds() as u64)
}

/// Two people confirmed what peers get: has every stream decide everything again.
///
/// # Errors
/// When the store cannot be read.
pub fn decide_anew(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let version = policy_version(tx)?;
    sweep(tx, version)
}

/// Every outgoing stream.
pub(super) fn streams(tx: &Tx<'_>) -> Result<Vec<(AuthorityId, StreamOut)>, StoreError> {
    tx.scan(Scan::<StreamsOut>::all(), STREAMS_MAX)
}

/// The policy version in force, as this transaction sees it.
pub(crate) fn policy_version(tx: &Tx<'_>) -> Result<PolicyVersion, StoreError> {
    let held = tx.get::<Meta>(&POLICY_KEY.to_owned())?;
    let bytes = held.and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}
