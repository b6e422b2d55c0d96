//! The issuer's last word: the content is erased here at once, and at every peer that holds it.

use super::issue::may_issue;
use super::read::{gone, own_alert};
use super::{DeskError, Issued, reason};
use crate::alert;
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::erase_own;
use crate::id::AlertId;
use crate::node::SharedNode;
use crate::roles::Actor;
use crate::store::{CommitError, Committed, Erased, Own};

/// Withdraws an own alert for good. The reason stays in this node's log.
///
/// # Errors
/// When it is not a live own alert, or the reason is missing.
pub async fn withdraw(
    node: &SharedNode,
    id: &AlertId,
    why: &str,
    actor: &Actor,
) -> Result<Issued, DeskError> {
    let why = reason("a reason with --reason", why)?.to_owned();
    let held = own_alert(node, &node.store, id)?;
    let version = held.version;
    let statement = alert::withdraw(id, version, node.clock.now(), &node.statement_key)?;
    let event = Event::new(Operation::Erase, "alert.withdrawn", &actor.name)
        .alert(id)
        .with("version", version)
        .with("reason", why);
    let key = id.clone();
    let committed = node.store.commit(move |tx| {
        may_issue(tx)?;
        let Some(own) = tx.get::<Own>(&key)? else { return Err(gone(tx, &key)?) };
        if own.version != version {
            let (held, expected) = (own.version, version);
            return Err(DeskError::VersionMoved { id: key, held, expected });
        }
        exchange::feed(tx, &key, true, Some(own.feed));
        erase_own(tx, &key, &own, Erased::Withdrawn, Some(statement));
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)?;
    Ok(Issued { id: id.clone(), version, warnings: vec![] })
}
