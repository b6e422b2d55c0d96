//! Authorities, their descriptors and life cycle, and whose keys are valid when.

use std::collections::HashMap;
use std::sync::Arc;
use serde::{Deserialize, Serialize};
use crate::id::{AuthorityId, KeyId, Timestamp};
use crate::jose::{PublicKey, SigningKey};

/// `typ` of a descriptor.
pub const DESCRIPTOR_TYP: &str = "entente-descriptor+jwt";

/// A key with the time in which it may sign, UTC seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedKey { /// JWK
    pub key: PublicKey, /// from
    pub not_before: i64, /// until
    pub not_after: i64 }

/// What an authority says of itself: one byte string for everybody, signed by its identity key (decision 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// who
    pub authority: AuthorityId,
    /// advances with each descriptor, from 1
    pub serial: u64,
    /// UTC seconds
    pub issued_at: i64,
    /// signs this
    pub identity: PublicKey,
    /// sign alerts, heads, receipts; at least one, at most 8
    pub statement_keys: Vec<DatedKey>,
    /// sign checkpoints of the log
    pub log_keys: Vec<DatedKey>,
    /// PEM of the roots that vouch for its nodes' certificates, at most 4
    pub tls_roots: Vec<String>,
    /// `host:port` of the exchange door, at most 4, tried in order
    pub endpoints: Vec<String>,
    /// oldest and newest alert schema it reads
    pub schemas: (u32, u32),
    /// the 24 h desk: phone or e-mail, at most 200 bytes
    pub contact: String,
}

/// A descriptor whose signature was checked, with the bytes as signed.
#[derive(Clone, Debug)]
pub struct SignedDescriptor { descriptor: Descriptor, jws: String }

impl SignedDescriptor {
    /// Signs.
    pub fn sign(descriptor: Descriptor, identity: &SigningKey) -> Result<Self, TrustError> { todo!() }
    /// Parses and verifies against the identity key it names; bounds every list.
    pub fn parse(jws: &str) -> Result<Self, TrustError> { todo!() }
    /// What it says.
    pub fn descriptor(&self) -> &Descriptor { &self.descriptor }
    /// As signed.
    pub fn jws(&self) -> &str { &self.jws }
    /// What two people compare over the phone.
    pub fn fingerprint(&self) -> Fingerprint { todo!() }
}

/// SHA-256 over authority name and identity key, shown as 8 groups of 5 digits (about 132 bits). Display, FromStr (spaces ignored), Eq.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint(String);

/// Where a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState { /// imported, waits for a second person
    Pending, /// exchanges
    Active, /// neither sends nor receives; nothing is erased
    Suspended, /// trust has ended
    Removed }

/// A peer as this node holds it (stored in the table `Peers`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// who
    pub authority: AuthorityId,
    /// where it stands
    pub state: PeerState,
    /// advances with every change; offers name it, so that no offer outlives the trust it was made under
    pub revision: u64,
    /// JWS
    pub descriptor: String,
    /// a newer descriptor that waits for approval (same identity: none needed unless it widens; other identity: full ceremony)
    pub pending: Option<String>,
    /// user who imported it
    pub imported_by: String,
    /// user who approved it
    pub approved_by: Option<String>,
    /// when
    pub changed_at: Timestamp,
}

impl Peer {
    /// Imports a descriptor: a new peer (pending), or a newer serial of one.
    pub fn import(held: Option<&Peer>, descriptor: &SignedDescriptor, by: &str, now: Timestamp) -> Result<Peer, TrustError> { todo!() }
    /// A second person approves; the fingerprint must be the imported one's.
    pub fn approve(&self, by: &str, fingerprint: &Fingerprint, now: Timestamp) -> Result<Peer, TrustError> { todo!() }
    /// Suspends, resumes, removes.
    pub fn change(&self, to: PeerState, now: Timestamp) -> Result<Peer, TrustError> { todo!() }
}

/// The peers as doors and dispatchers see them now; built anew at each change and swapped whole.
#[derive(Clone, Debug, Default)]
pub struct Directory { peers: HashMap<AuthorityId, Arc<Known>> }

/// A peer with its descriptor parsed.
#[derive(Clone, Debug)]
pub struct Known { /// record
    pub peer: Peer, /// parsed
    pub descriptor: SignedDescriptor }

impl Directory {
    /// From the stored peers.
    pub fn new(peers: Vec<Peer>) -> Result<Self, TrustError> { todo!() }
    /// By name, in any state.
    pub fn peer(&self, authority: &AuthorityId) -> Option<&Arc<Known>> { self.peers.get(authority) }
    /// By name, if active.
    pub fn active(&self, authority: &AuthorityId) -> Option<&Arc<Known>> { self.peer(authority).filter(|k| k.peer.state == PeerState::Active) }
    /// All.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Known>> { self.peers.values() }
    /// The statement key `kid` of an active peer, if valid at `now`.
    pub fn statement_key(&self, authority: &AuthorityId, kid: &KeyId, now: Timestamp) -> Option<PublicKey> { todo!() }
}

/// Why trust was refused; complete as needed, each with `reason()`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Placeholder.
    #[error("…")]
    Placeholder,
}
