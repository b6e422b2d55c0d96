//! What travels on a stream: statements at their places, the chain over them, and positions in it.

use super::kind::Kind;
use crate::id::{AuthorityId, Digest, Epoch, StreamSeq};

/// Most statements in a batch, which costs one durable commit at each end; more would only delay
/// the first.
pub const BATCH_ITEMS_MAX: usize = 64;

/// Most bytes of the statements in a batch: fits the decoding limit of the exchange door.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Statements of one stream, ready to be sent or as received.
#[derive(Clone)]
pub struct Batch {
    /// In the order of the stream; may be empty: a heartbeat.
    pub items: Vec<Item>,
    /// JWS, [`HEAD_TYP`](super::statement::HEAD_TYP).
    pub head: String,
    /// Last place for which the sender durably has a receipt.
    pub acknowledged: StreamSeq,
}

/// A statement at its place.
#[derive(Clone)]
pub struct Item {
    /// StreamPosition in the stream.
    pub seq: StreamSeq,
    /// Of the statement first offered at this place.
    pub digest: Digest,
    /// The statement, as signed.
    pub statement: Statement,
}

/// A statement as signed; its text is never printed.
#[derive(Clone)]
pub struct Statement {
    /// Of which kind.
    pub kind: Kind,
    /// As signed.
    pub text: String,
}

impl Statement {
    /// A text of this kind.
    pub fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }
}

/// Splits items into batches that keep the bounds.
pub(super) fn batches(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.statement.text.len();
        match batches.last_mut() {
            Some(last) if last.len() < BATCH_ITEMS_MAX && bytes + size <= BATCH_BYTES_MAX => {
                bytes += size;
                last.push(item);
            }
            _ => {
                bytes = size;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamPosition {
    /// Number of the stream.
    pub(super) epoch: Epoch,
    /// StreamPosition; 0 before the first.
    pub(super) seq: StreamSeq,
    /// Chain value there.
    pub(super) chain: Digest,
}

impl StreamPosition {
    /// The place after these items.
    #[must_use]
    pub(super) fn after(self, items: &[Item]) -> Self {
        items.iter().fold(self, |place, item| Self {
            epoch: place.epoch,
            seq: item.seq,
            chain: chain_next(&place.chain, item.seq, &item.digest),
        })
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
