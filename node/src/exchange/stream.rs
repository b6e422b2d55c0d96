//! The stream to a peer: what a batch is, the chain over it, and what moves a stream inside a
//! transaction.

use crate::audit::{Event, Operation};
use crate::id::{
    AlertId, AuthorityId, Digest, Epoch, FeedSeq, PolicyVersion, StreamSeq, Timestamp, Version,
};
use crate::store::{
    Change, Feed, FeedEntry, Ledger, LedgerEntry, Meta, StoreError, StreamOut, StreamsOut, Sweep,
    Tx,
};

/// Statements in a batch: one durable commit at each end; more would only delay the first.
pub const BATCH_ITEMS_MAX: usize = 64;

/// Statements of a batch together, in bytes: fits the decoding limit of the exchange door.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Records read at a time when a stream's peers, ledgers or parked statements are walked.
pub(super) const PAGE: usize = 256;

/// Outgoing streams of one node: ten times the peers it is sized for.
const STREAMS_MAX: usize = 1024;

/// Key in [`Meta`] of the policy version in force, eight big-endian bytes.
const POLICY_KEY: &str = "policy";

/// Statements of one stream, ready to be sent or as received.
#[derive(Clone)]
pub struct Batch {
    /// In the order of the stream; may be empty: a heartbeat.
    pub items: Vec<Item>,
    /// JWS, [`super::HEAD_TYP`].
    pub head: String,
    /// Last place for which the sender durably has a receipt.
    pub acknowledged: StreamSeq,
}

/// A statement at its place.
#[derive(Clone)]
pub struct Item {
    /// Place in the stream.
    pub seq: StreamSeq,
    /// Of the statement first offered at this place.
    pub digest: Digest,
    /// The statement, as signed.
    pub statement: Statement,
}

/// The kinds of statements; the texts are never printed.
#[derive(Clone)]
pub enum Statement {
    /// A view of an alert.
    Alert(String),
    /// The issuer's last word on an alert, the same for everybody.
    Withdrawal(String),
    /// The issuer takes an alert back from this peer.
    Retraction(String),
}

impl Statement {
    /// The text as signed.
    pub fn text(&self) -> &str {
        match self {
            Self::Alert(text) | Self::Withdrawal(text) | Self::Retraction(text) => text,
        }
    }
}

/// Chain value before the first place of a stream.
pub(super) fn chain_start(from: &AuthorityId, to: &AuthorityId, epoch: Epoch) -> Digest {
    let names = format!("entente-stream/1\0{from}\0{to}\0");
    Digest::of_parts(&[names.as_bytes(), &epoch.to_be_bytes()])
}

/// Chain value at `seq`, from the one before and the digest of what was first offered there.
pub(super) fn chain_next(before: &Digest, seq: StreamSeq, digest: &Digest) -> Digest {
    Digest::of_parts(&[&before.0, &seq.to_be_bytes(), &digest.0])
}

/// A new stream, or a new epoch of one: the feed is decided from its beginning.
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
    tx.put::<Feed>(&place, &FeedEntry { alert: alert.clone(), withdrawn });
    tx.announce(Change::Feed);
    place
}

/// After a change of policy, in the same transaction: offers decided under an older version are
/// refused from here on, and every stream decides anew, what peers hold first.
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

/// The stream, deciding everything anew.
pub(super) fn begin_sweep(stream: StreamOut, now: Timestamp) -> StreamOut {
    let (sweep, sweeps) = (Some(Sweep::Held(None)), stream.sweeps + 1);
    StreamOut { sweep, sweeps, swept_at: now, ..stream }
}

/// When a peer becomes active, in the same transaction: its stream begins, or goes on with
/// everything decided anew.
///
/// # Errors
/// When the store cannot be read.
pub fn open_stream(
    tx: &mut Tx<'_>,
    from: &AuthorityId,
    peer: &AuthorityId,
) -> Result<(), StoreError> {
    let (policy, now) = (policy_version(tx)?, tx.now());
    super::witness::settle_log(tx, peer)?;
    let stream = match tx.get::<StreamsOut>(peer)? {
        Some(held) => StreamOut { halted: None, policy, ..begin_sweep(held, now) },
        None => fresh(from, peer, 1, policy, now),
    };
    tx.put::<StreamsOut>(peer, &stream);
    tx.announce(Change::Feed);
    Ok(())
}

/// Stops one stream until a person acts, with the reason they are shown.
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

/// After a loss of state was repaired: a new epoch towards every peer, and the stop ends. Runs in
/// the transaction of the second person's approval.
///
/// # Errors
/// When the store cannot be read.
pub fn start_epochs(tx: &mut Tx<'_>, from: &AuthorityId) -> Result<(), StoreError> {
    super::lost::end_stop(tx);
    for (peer, stream) in streams(tx)? {
        let next = next_epoch(tx, &stream);
        super::dispatch::drop_offers(tx, &peer)?;
        tx.put::<StreamsOut>(&peer, &fresh(from, &peer, next, stream.policy, tx.now()));
    }
    tx.announce(Change::Feed);
    Ok(())
}

/// Whether the peer holds, or may hold, something of the alert that was not taken back.
pub(crate) fn may_hold(ledger: &LedgerEntry) -> bool {
    ledger.taken_back.is_none() && (ledger.held.is_some() || !ledger.possible.is_empty())
}

/// Whether the peer may hold something of the alert that does not end with its last version.
pub(super) fn may_outlive(ledger: &LedgerEntry, last: Version) -> bool {
    let last_held = ledger.held.as_ref().is_some_and(|held| held.version == last);
    may_hold(ledger) && !(last_held && ledger.possible.is_empty())
}

/// Whether a copy of an alert may outlive it at some peer: an older version that ends later, whose
/// update did not arrive.
///
/// # Errors
/// When the store cannot be read.
pub fn outlived(tx: &Tx<'_>, alert: &AlertId, last: Version) -> Result<bool, StoreError> {
    for (peer, _) in streams(tx)? {
        let ledger = tx.get::<Ledger>(&(peer, alert.clone()))?;
        if ledger.is_some_and(|ledger| may_outlive(&ledger, last)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of the epoch after `stream`'s: the clock's seconds, so that a node that forgot an
/// epoch does not give its number away again.
pub(super) fn next_epoch(tx: &Tx<'_>, stream: &StreamOut) -> Epoch {
    (stream.epoch + 1).max(tx.now().seconds() as u64)
}

/// Two persons confirmed what peers get: every stream decides anew.
///
/// # Errors
/// When the store cannot be read.
pub fn decide_anew(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let version = policy_version(tx)?;
    sweep(tx, version)
}

/// Every outgoing stream.
fn streams(tx: &Tx<'_>) -> Result<Vec<(AuthorityId, StreamOut)>, StoreError> {
    tx.scan::<StreamsOut>(&[], None, STREAMS_MAX)
}

/// The policy version in force, as this transaction sees it.
pub(crate) fn policy_version(tx: &Tx<'_>) -> Result<PolicyVersion, StoreError> {
    let held = tx.get::<Meta>(&POLICY_KEY.to_owned())?;
    let bytes = held.and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}

/// The beginning of every key that starts with this peer.
pub(crate) fn within(peer: &AuthorityId) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::store::TableKey::encode(peer, &mut bytes);
    bytes
}
