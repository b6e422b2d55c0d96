//! The record of a restore: two people approved that a log continues from an older entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Entry, Verifier, VerifyError};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Digest, KeyId, Timestamp};
use crate::jose::{self, JoseError, PublicKey, SignError, SigningKey};

/// `typ` of a restore.
pub const RESTORE_TYP: &str = "entente-restore+jwt";

/// Kind of the event that records a restore.
pub const RESTORED: &str = "log.restored";

/// Kind of the event that keeps a restore which a later restore had lost and a peer handed back.
pub const RESTORE_RECOVERED: &str = "log.restore_recovered";

/// Name of the fact that carries the signed [`Restore`] in its event.
pub const STATEMENT: &str = "statement";

/// An authority's statement that its log was restored from an older state: which entries are gone,
/// and where the log continues. The event that carries it says who approved it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Whose log.
    pub iss: AuthorityId,
    /// When it was approved, UTC seconds.
    pub iat: i64,
    /// Number of entries of the old log that the present one begins with.
    pub kept: u64,
    /// Number of entries of the old log, as far as a peer had seen it.
    pub old_size: u64,
    /// Root over them.
    pub old_root: Digest,
    /// Number of entries of the present log before the event that records this.
    pub new_size: u64,
    /// Root over them.
    pub new_root: Digest,
}

impl Restore {
    /// Whether a head of the log that was signed at `iat`, give or take the clock tolerance, is one
    /// of the entries that are gone.
    pub fn covers(&self, size: u64, root: &Digest, iat: i64) -> bool {
        let within = self.kept < size && size <= self.old_size;
        let before = iat <= self.iat.saturating_add(CLOCK_TOLERANCE_S);
        within && before && (size < self.old_size || *root == self.old_root)
    }

    /// As [`Restore::covers`], of a checkpoint.
    pub fn covers_checkpoint(&self, checkpoint: &Checkpoint) -> bool {
        self.covers(checkpoint.size, &checkpoint.root, checkpoint.iat)
    }
}

/// Signs a restore with the log key.
///
/// # Errors
/// When the key does not sign now.
pub fn sign_restore(restore: &Restore, key: &SigningKey) -> Result<String, SignError> {
    jose::sign(RESTORE_TYP, restore, key)
}

/// Verifies a restore against the log key that `key_of` gives.
///
/// # Errors
/// When it is not a restore that this key signed.
pub fn verify_restore(
    jws: &str,
    key_of: impl FnOnce(&KeyId) -> Option<PublicKey>,
) -> Result<Restore, JoseError> {
    jose::verify(RESTORE_TYP, jws, key_of)
}

/// A restore as the log records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// As signed.
    pub restore: Restore,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who proposed it and who approved it; empty where a later restore lost the record, and a peer
    /// handed back the statement alone.
    pub by: Vec<String>,
    /// Why.
    pub reason: String,
}

impl Recorded {
    /// The restore that an entry records, if it records one.
    ///
    /// # Errors
    /// When it does not verify, or is not in its place.
    fn read(
        entry: &Entry,
        before: (u64, Digest),
        key_of: impl FnOnce(&KeyId) -> Option<PublicKey>,
    ) -> Result<Option<Self>, VerifyError> {
        let here = entry.kind == RESTORED;
        let fact = |name: &str| entry.facts.get(name).and_then(|fact| fact.as_str());
        let Some(jws) = fact(STATEMENT).filter(|_| here || entry.kind == RESTORE_RECOVERED) else {
            return Ok(None);
        };
        let restore = verify_restore(jws, key_of).ok();
        let sound = |restore: &Restore| {
            restore.kept < restore.old_size
                && (!here || (restore.new_size, restore.new_root) == before)
        };
        let restore = restore.filter(sound).ok_or(VerifyError::Restore(entry.index))?;
        let by = match fact("proposed_by") {
            Some(proposed_by) => vec![proposed_by.to_owned(), entry.actor.clone()],
            None => Vec::new(),
        };
        let reason = fact("reason").unwrap_or_default().to_owned();
        Ok(Some(Self { restore, at: entry.at, by, reason }))
    }
}

/// Compares a log, recomputed leaf by leaf, with checkpoints that were kept of it.
pub struct Comparison {
    verifier: Verifier,
    kept: BTreeMap<u64, Vec<Checkpoint>>,
    differing: Vec<Checkpoint>,
    restores: Vec<Recorded>,
}

/// The result of comparing a log with checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The restores that it records, in their order.
    pub restores: Vec<Recorded>,
    /// Checkpoints over entries that one of these restores lost.
    pub gone: Vec<Checkpoint>,
}

impl Comparison {
    /// With checkpoints whose signatures were verified.
    pub fn with(checkpoints: impl IntoIterator<Item = Checkpoint>) -> Self {
        let mut kept: BTreeMap<u64, Vec<Checkpoint>> = BTreeMap::new();
        for checkpoint in checkpoints {
            kept.entry(checkpoint.size).or_default().push(checkpoint);
        }
        let (verifier, differing, restores) = (Verifier::default(), Vec::new(), Vec::new());
        Self { verifier, kept, differing, restores }
    }

    /// Entries taken so far.
    pub fn size(&self) -> u64 {
        self.verifier.tree().size()
    }

    /// Takes the next leaf; `key_of` gives the log's keys.
    ///
    /// # Errors
    /// When it is not the next, or records a restore that does not verify.
    pub fn push(
        &mut self,
        index: u64,
        leaf: &[u8],
        key_of: impl FnOnce(&KeyId) -> Option<PublicKey>,
    ) -> Result<(), VerifyError> {
        let before = (self.size(), self.verifier.tree().root());
        let entry = self.verifier.push(index, leaf)?;
        self.restores.extend(Recorded::read(&entry, before, key_of)?);
        let here = self.kept.remove(&self.size()).unwrap_or_default();
        self.differing.extend(here.into_iter().filter(|c| self.verifier.check(c).is_err()));
        Ok(())
    }

    /// Compares with the log's own signed head at its end.
    ///
    /// # Errors
    /// When the head differs, or a checkpoint differs and no recorded restore explains it.
    pub fn end(self, head: &Checkpoint) -> Result<Compared, VerifyError> {
        self.verifier.check(head)?;
        let (size, longer) = (self.size(), self.kept.into_values().flatten());
        let gone: Vec<Checkpoint> = self.differing.into_iter().chain(longer).collect();
        let explained = |checkpoint: &Checkpoint| {
            self.restores.iter().any(|recorded| recorded.restore.covers_checkpoint(checkpoint))
        };
        match gone.iter().find(|checkpoint| !explained(checkpoint)) {
            None => Ok(Compared { restores: self.restores, gone }),
            Some(c) if c.size > size => Err(VerifyError::Shorter { kept: c.size, size }),
            Some(c) => Err(VerifyError::Root(c.size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_covers_what_is_gone_and_nothing_else() {
        let root = |text: &str| Digest::of(text.as_bytes());
        let restore = Restore {
            iss: "dk.politi".parse().expect("a name"),
            iat: 10_000,
            kept: 640,
            old_size: 812,
            old_root: root("old"),
            new_size: 700,
            new_root: root("new"),
        };
        for (size, named, iat, covered) in [
            (641, "any", 9_000, true),
            (811, "any", 9_000, true),
            (812, "old", 9_000, true),
            (812, "another", 9_000, false),
            (640, "any", 9_000, false),
            (813, "any", 9_000, false),
            (700, "any", 10_000 + CLOCK_TOLERANCE_S, true),
            (700, "any", 10_001 + CLOCK_TOLERANCE_S, false),
        ] {
            assert_eq!(restore.covers(size, &root(named), iat), covered, "{size} {named} {iat}");
        }
    }
}
