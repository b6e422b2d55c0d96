//! The audit log: events, the Merkle tree over them (RFC 6962 hashing), signed checkpoints, proofs
//! and their verifiers.

mod restore;
mod tree;

pub use restore::{
    Compared, Comparison, RESTORE_RECOVERED, RESTORE_TYP, RESTORED, Recorded, Restore, STATEMENT,
    sign_restore, verify_restore,
};
pub use tree::{
    Proof, Tree, consistency_path, inclusion_path, leaf_hash, node_hash, verify_consistency,
    verify_inclusion,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{AlertId, AuthorityId, Digest, KeyId, Timestamp};
use crate::jose::{self, JoseError, PublicKey, SignError, SigningKey};

/// `typ` of a checkpoint.
pub const CHECKPOINT_TYP: &str = "entente-checkpoint+jwt";

/// The kinds of operation: those of 2016/680 Art. 25, and those of administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Data came in: created here or received.
    Collect,
    /// Data was changed.
    Alter,
    /// Data was searched or opened.
    Consult,
    /// Data was given to a peer.
    Disclose,
    /// Data from several sources was combined.
    Combine,
    /// Data was erased.
    Erase,
    /// Trust in a peer changed.
    Trust,
    /// The sharing policy changed.
    Policy,
    /// Keys and states of the node.
    Key,
    /// Users of the desk changed.
    User,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::Collect,
        Self::Alter,
        Self::Consult,
        Self::Disclose,
        Self::Combine,
        Self::Erase,
        Self::Trust,
        Self::Policy,
        Self::Key,
        Self::User,
    ];

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Alter => "alter",
            Self::Consult => "consult",
            Self::Disclose => "disclose",
            Self::Combine => "combine",
            Self::Erase => "erase",
            Self::Trust => "trust",
            Self::Policy => "policy",
            Self::Key => "key",
            Self::User => "user",
        }
    }
}

/// One thing that happened. It holds ids, digests, counts and names of claims; never a value of a
/// claim, never a search term.
#[derive(Clone, Debug)]
pub struct Event {
    operation: Operation,
    kind: &'static str,
    actor: String,
    alert: Option<AlertId>,
    peer: Option<AuthorityId>,
    facts: Map<String, Value>,
    case: Option<[u8; 16]>,
}

impl Event {
    /// `kind` is dotted, e.g. `alert.created`; `actor` is a user's name, or `node`.
    pub fn new(operation: Operation, kind: &'static str, actor: &str) -> Self {
        let (alert, peer, facts, case) = (None, None, Map::new(), None);
        Self { operation, kind, actor: actor.to_owned(), alert, peer, facts, case }
    }

    /// About this alert.
    #[must_use]
    pub fn alert(mut self, id: &AlertId) -> Self {
        self.alert = Some(id.clone());
        self
    }

    /// The alert is of this case: a keyed hash for the store's index, not in the entry.
    #[must_use]
    pub fn of_case(mut self, case: Option<[u8; 16]>) -> Self {
        self.case = case;
        self
    }

    /// What exactly, dotted.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The alert that it is about, who did it, and the hash of the case.
    pub fn about(&self) -> Option<(&AlertId, &str, Option<[u8; 16]>)> {
        Some((self.alert.as_ref()?, &self.actor, self.case))
    }

    /// About this peer.
    #[must_use]
    pub fn peer(mut self, peer: &AuthorityId) -> Self {
        self.peer = Some(peer.clone());
        self
    }

    /// One more fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// The entry this event becomes.
    pub fn entry(self, index: u64, at: Timestamp, salt: [u8; 16]) -> Entry {
        Entry {
            index,
            at,
            operation: self.operation,
            kind: self.kind.to_owned(),
            actor: self.actor,
            alert: self.alert,
            peer: self.peer,
            facts: self.facts,
            salt: hex::encode(salt),
        }
    }
}

/// How an alert changed here, according to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Created here.
    Created,
    /// A new version of an own alert.
    Updated,
    /// A version of a peer's.
    Received,
    /// Fetched back from a peer after a loss of state.
    Recovered,
    /// Taken back by its issuer, for good.
    Withdrawn,
    /// No longer shared with us.
    Retracted,
    /// It expired.
    Expired,
    /// Not confirmed by its issuer's snapshot.
    Dropped,
}

impl Changed {
    /// The change that an entry of this kind records; `None` when it records none.
    pub fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "alert.created" => Self::Created,
            "alert.updated" | "alert.reissued" => Self::Updated,
            "alert.received" => Self::Received,
            "alert.recovered" => Self::Recovered,
            "alert.withdrawn"
            | "alert.withdrawal_received"
            | "alert.withdrawal_recovered"
            | "alert.withdrawal_reissued" => Self::Withdrawn,
            "alert.retraction_received" => Self::Retracted,
            "alert.expired" => Self::Expired,
            "alert.dropped" => Self::Dropped,
            _ => return None,
        })
    }

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Received => "received",
            Self::Recovered => "recovered",
            Self::Withdrawn => "withdrawn",
            Self::Retracted => "retracted",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
        }
    }
}

/// An entry of the log. Its JSON, byte for byte, is the leaf that the tree runs over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Place in the log, from 0.
    pub index: u64,
    /// When it became durable.
    pub at: Timestamp,
    /// What was done.
    pub operation: Operation,
    /// What exactly, dotted.
    pub kind: String,
    /// Who: a user's name, or `node`.
    pub actor: String,
    /// About which alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertId>,
    /// About which peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<AuthorityId>,
    /// Ids, digests, counts and names.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// Sixteen random bytes in hexadecimal, so that a leaf's hash reveals nothing about its
    /// content.
    pub salt: String,
}

impl Entry {
    /// The leaf's bytes.
    pub fn leaf(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a leaf back.
    ///
    /// # Errors
    /// When the bytes are not an entry.
    pub fn parse(leaf: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(leaf)
    }
}

/// A signed head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose log.
    pub iss: AuthorityId,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// When signed, UTC seconds.
    pub iat: i64,
}

/// Signs a checkpoint.
///
/// # Errors
/// When the key does not sign now.
pub fn sign_checkpoint(checkpoint: &Checkpoint, key: &SigningKey) -> Result<String, SignError> {
    jose::sign(CHECKPOINT_TYP, checkpoint, key)
}

/// Verifies a checkpoint against the log key.
///
/// # Errors
/// When it is not a checkpoint that this key signed.
pub fn verify_checkpoint(jws: &str, key: &PublicKey) -> Result<Checkpoint, JoseError> {
    verify_checkpoint_by(jws, |kid| (*kid == key.key_id()).then(|| key.clone()))
}

/// As [`verify_checkpoint`], against the log key that `key_of` gives.
///
/// # Errors
/// As [`verify_checkpoint`].
pub fn verify_checkpoint_by(
    jws: &str,
    key_of: impl FnOnce(&KeyId) -> Option<PublicKey>,
) -> Result<Checkpoint, JoseError> {
    jose::verify(CHECKPOINT_TYP, jws, key_of)
}

/// Reads a checkpoint *before* its signature is checked, to tell a wrong file from a forged one.
///
/// # Errors
/// When it does not have the form of a checkpoint.
pub fn claimed_checkpoint(jws: &str) -> Result<Checkpoint, JoseError> {
    jose::peek(CHECKPOINT_TYP, jws)
}

/// Recomputes a log leaf by leaf, from the first.
#[derive(Default)]
pub struct Verifier {
    tree: Tree,
}

/// Why a log does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A leaf is missing or repeated.
    #[error("entry {expected} is missing: entry {found} follows instead")]
    Gap {
        /// The expected index.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// A leaf is not an entry, or names another place than its own.
    #[error("entry {0} cannot be read, or says another place")]
    Malformed(u64),
    /// The tree over the leaves is not the one that was committed to.
    #[error("the log was changed: at size {0} its root is not the one that was signed")]
    Root(u64),
    /// A checkpoint was signed over entries that are gone.
    #[error("a kept checkpoint has {kept} entries, the log only {size}")]
    Shorter {
        /// As the checkpoint says.
        kept: u64,
        /// As the log has.
        size: u64,
    },
    /// An entry says that the log was restored, and its signed statement does not verify.
    #[error("entry {0} records a restore that does not verify, or stands in another place")]
    Restore(u64),
}

impl Verifier {
    /// Takes the next leaf.
    ///
    /// # Errors
    /// When it is not the next, or says another place.
    pub fn push(&mut self, index: u64, leaf: &[u8]) -> Result<Entry, VerifyError> {
        let expected = self.tree.size();
        if index != expected {
            return Err(VerifyError::Gap { expected, found: index });
        }
        let entry = Entry::parse(leaf).map_err(|_| VerifyError::Malformed(index))?;
        if entry.index != index {
            return Err(VerifyError::Malformed(index));
        }
        self.tree.append(leaf_hash(leaf));
        Ok(entry)
    }

    /// The tree over the leaves taken so far.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Compares with a checkpoint at the present size.
    ///
    /// # Errors
    /// When the root differs.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        let same = (self.tree.size(), self.tree.root()) == (checkpoint.size, checkpoint.root);
        if same { Ok(()) } else { Err(VerifyError::Root(checkpoint.size)) }
    }
}
