//! The audit log: events, the Merkle tree over them (RFC 6962 hashing), signed checkpoints, proofs and verifiers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use crate::id::{AlertId, AuthorityId, Digest, Timestamp};
use crate::jose::{PublicKey, SigningKey};

/// `typ` of a checkpoint.
pub const CHECKPOINT_TYP: &str = "entente-checkpoint+jwt";

/// What was done, in the words of 2016/680 Art. 25 and for administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation { Collect, Alter, Consult, Disclose, Combine, Erase, Trust, Policy, Key, User }

/// One thing that happened. Holds ids, digests, counts and claim names; never a value of a claim, never a search term.
#[derive(Clone, Debug)]
pub struct Event { operation: Operation, kind: &'static str, actor: String, alert: Option<AlertId>, peer: Option<AuthorityId>, facts: Map<String, Value> }

impl Event {
    /// `kind` is dotted, e.g. `alert.created`, `consult.asked`, `disclose.offered`; `actor` a user's name, or `node`.
    pub fn new(operation: Operation, kind: &'static str, actor: &str) -> Self { todo!() }
    /// About this alert.
    #[must_use] pub fn alert(mut self, id: &AlertId) -> Self { todo!() }
    /// About this peer.
    #[must_use] pub fn peer(mut self, peer: &AuthorityId) -> Self { todo!() }
    /// One more fact.
    #[must_use] pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self { todo!() }
    /// The leaf's bytes: JSON object with index, time, a random salt, and the above.
    pub fn leaf(&self, index: u64, at: Timestamp, salt: [u8; 16]) -> Vec<u8> { todo!() }
}

/// An entry as read back from a leaf.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry { /// place, from 0
    pub index: u64, /// when
    pub at: Timestamp, /// operation
    pub operation: Operation, /// kind
    pub kind: String, /// who
    pub actor: String, /// alert
    pub alert: Option<AlertId>, /// peer
    pub peer: Option<AuthorityId>, /// rest
    pub facts: Map<String, Value>, /// 16 random bytes, base64url
    pub salt: String }

/// Right edge of the tree: enough to append and to know the root. Serialisable; at most 64 digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree { size: u64, edge: Vec<Digest> }

impl Tree {
    /// Leaves so far.
    pub fn size(&self) -> u64 { self.size }
    /// RFC 6962 §2.1 root; of the empty tree SHA-256("").
    pub fn root(&self) -> Digest { todo!() }
    /// Appends the hash of a leaf.
    pub fn append(&mut self, leaf: Digest) { todo!() }
}

/// RFC 6962 leaf hash.
pub fn leaf_hash(leaf: &[u8]) -> Digest { todo!() }

/// A signed head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint { /// whose log
    pub iss: AuthorityId, /// leaves
    pub size: u64, /// root
    pub root: Digest, /// UTC seconds
    pub iat: i64 }

/// Signs a checkpoint.
pub fn sign_checkpoint(checkpoint: &Checkpoint, key: &SigningKey) -> String { todo!() }
/// Verifies one.
pub fn verify_checkpoint(jws: &str, key: &PublicKey) -> Result<Checkpoint, crate::jose::JoseError> { todo!() }
// to come: inclusion and consistency proofs over leaf hashes (RFC 6962 §2.1.1, §2.1.2) and their verifiers
