//! The log's head, signed and kept: what auditors hold the log against.

use super::AdminError;
use crate::audit::{Checkpoint, sign_checkpoint};
use crate::node::Node;

/// Signs the log as it is now, and keeps the checkpoint; returns it as signed.
///
/// # Errors
/// When the log key does not sign now, or the store failed.
pub async fn checkpoint(node: &Node) -> Result<String, AdminError> {
    // Of what is durable: a log only grows, so that this stays true of whatever comes meanwhile.
    let log = node.store.log();
    let checkpoint = Checkpoint {
        iss: node.authority.clone(),
        size: log.size(),
        root: log.root(),
        iat: node.clock.now().seconds(),
    };
    let jws = sign_checkpoint(&checkpoint, &node.log_key)?;
    node.store.keep_checkpoint(checkpoint, jws.clone()).await?;
    Ok(jws)
}
