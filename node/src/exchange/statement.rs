//! What the two ends of a stream sign: heads, receipts, retractions. Each is a JWS with its own
//! `typ`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AlertId, AuthorityId, Digest, Entropy, Epoch, StreamSeq};

/// `typ` of a head.
pub const HEAD_TYP: &str = "entente-head+jwt";
/// `typ` of a receipt.
pub const RECEIPT_TYP: &str = "entente-receipt+jwt";
/// `typ` of a retraction.
pub const RETRACTION_TYP: &str = "entente-retraction+jwt";

/// Sixteen fresh bytes from a receiver: the head that answers them was signed after they were made.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// A fresh one.
    pub fn random(entropy: &Entropy) -> Self {
        Self(entropy.bytes())
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Nonce {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Nonce {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

/// The sender's word on the place of its stream: the end of every batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Sender.
    pub iss: AuthorityId,
    /// Receiver.
    pub aud: AuthorityId,
    /// Number of the stream.
    pub epoch: Epoch,
    /// Last place, this batch included; 0 when nothing was offered in this epoch.
    pub seq: StreamSeq,
    /// Chain value at that place.
    pub chain: Digest,
    /// When signed, UTC seconds.
    pub iat: i64,
    /// The receiver's newest nonce that the sender has seen.
    pub nonce: Nonce,
    /// Whether the sender has nothing more for this receiver at this moment: copies are as the
    /// issuer wants them.
    pub caught_up: bool,
    /// Whether the whole present view was sent in this epoch: the receiver drops what it did not
    /// confirm.
    pub snapshot_complete: bool,
    /// Leaves of the sender's audit log, and its root: peers are witnesses of each other's logs.
    pub log_size: u64,
    /// See `log_size`.
    pub log_root: Digest,
}

/// The receiver's word on what it durably holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Receiver.
    pub iss: AuthorityId,
    /// Sender.
    pub aud: AuthorityId,
    /// Number of the stream.
    pub epoch: Epoch,
    /// Last place committed.
    pub seq: StreamSeq,
    /// Chain value at that place.
    pub chain: Digest,
    /// When signed, UTC seconds.
    pub iat: i64,
    /// Places whose statements were refused, since the last receipt the sender is known to have.
    pub refused: Vec<Refused>,
    /// From protocol 2 on: the version of the protocol that both ends speak on this
    /// stream, by which statements were taken or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
}

/// The version of the protocol from which on receipts name the version agreed upon; an earlier one
/// refuses a receipt that does.
pub(super) const RECEIPT_PROTOCOL: u32 = 2;

impl Receipt {
    /// Whether it is of the form that the version agreed upon has: no field that this version does
    /// not know, and every field that it has.
    pub fn fits(&self, protocol: u32) -> bool {
        self.protocol == (protocol >= RECEIPT_PROTOCOL).then_some(protocol)
    }
}

/// A statement that the receiver refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Its place.
    pub seq: StreamSeq,
    /// Stable, machine-readable.
    pub reason: String,
}

/// The issuer takes an alert back from one peer, which may no longer hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retraction {
    /// Issuer of the alert.
    pub iss: AuthorityId,
    /// The peer that may no longer hold it.
    pub aud: AuthorityId,
    /// The alert.
    pub jti: AlertId,
    /// When signed, UTC seconds.
    pub iat: i64,
    /// Digest of the statement first offered at this place, if the retraction replaces it because
    /// the right to it ended before it was known to have arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_of: Option<Digest>,
}
