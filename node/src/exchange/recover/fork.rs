//! The next version of an alert that a lost part of the log had updated.

use crate::alert::View;
use crate::id::{AlertId, Digest, Version};
use crate::store::{Fork, Forks, Read, StoreError, Tx};

/// Makes the next version follow the newest that any peer holds; returns whether this one is new.
pub(super) fn note_fork(tx: &mut Tx<'_>, view: &View) -> Result<bool, StoreError> {
    let (id, version) = (&view.head.id, view.head.version);
    let newer = tx.get::<Forks>(id)?.is_none_or(|fork| fork.version < version);
    if newer {
        tx.put::<Forks>(id, &Fork { version, jwt_digest: view.jwt_digest });
    }
    Ok(newer)
}

/// The version and digest that the next version of an own alert follows: what is held here, or what
/// peers hold since it was forked.
///
/// # Errors
/// When the store cannot be read.
pub fn followed(
    now: &impl Read,
    id: &AlertId,
    held: (Version, Digest),
) -> Result<(Version, Digest), StoreError> {
    let fork = now.get::<Forks>(id)?.filter(|fork| fork.version >= held.0);
    Ok(fork.map_or(held, |fork| (fork.version, fork.jwt_digest)))
}

/// Heals the fork after the next version; returns false when the version that it follows is no
/// longer the newest.
///
/// # Errors
/// When the store cannot be read.
pub fn heal_fork(tx: &mut Tx<'_>, id: &AlertId, followed: Version) -> Result<bool, StoreError> {
    let newer = tx.get::<Forks>(id)?.is_some_and(|fork| fork.version > followed);
    if !newer {
        tx.delete::<Forks>(id);
    }
    Ok(!newer)
}
