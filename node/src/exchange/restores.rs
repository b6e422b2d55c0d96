//! The restores that authorities signed: the log that they continue, and the one that they gave up.

use crate::audit::{RESTORE_TYP, Restore};
use crate::id::AuthorityId;
use crate::jose;
use crate::node::Node;
use crate::store::{Read, Restores, Scan, StoreError, Tx};

/// Most restores of one authority that are kept and sent: a node that needs more has another
/// problem.
pub(super) const RESTORES_MAX: usize = 16;

pub(super) fn own_restores(node: &Node) -> Result<Vec<String>, StoreError> {
    let held = node.store.scan(Scan::<Restores>::of(&node.authority), RESTORES_MAX)?;
    Ok(held.into_iter().map(|(_, jws)| jws).collect())
}

/// When the last kept restore of an authority was approved, UTC seconds.
pub(super) fn last_restore(
    tx: &Tx<'_>,
    authority: &AuthorityId,
) -> Result<Option<i64>, StoreError> {
    let held = tx.scan(Scan::<Restores>::of(authority), RESTORES_MAX)?;
    // They were verified before they were kept.
    let approved = held.iter().filter_map(|(_, jws)| jose::peek::<Restore>(RESTORE_TYP, jws).ok());
    Ok(approved.map(|restore| restore.iat).max())
}

/// Keeps a restore among the newest of its authority.
pub(super) fn keep_restore(
    tx: &mut Tx<'_>,
    authority: &AuthorityId,
    restore: &Restore,
    jws: &str,
) -> Result<(), StoreError> {
    tx.put::<Restores>(&(authority.clone(), restore.new_size), &jws.to_owned());
    let held = tx.scan(Scan::<Restores>::of(authority), RESTORES_MAX + 1)?;
    if held.len() > RESTORES_MAX
        && let Some((oldest, _)) = held.first()
    {
        tx.delete::<Restores>(oldest);
    }
    Ok(())
}
