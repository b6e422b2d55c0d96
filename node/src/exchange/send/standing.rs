//! What a sender says of itself before anything else.

use super::error::SendError;
use crate::alert::SCHEMAS;
use crate::audit::{Checkpoint, sign_checkpoint};
use crate::exchange::PROTOCOLS;
use crate::exchange::greeting::Standing;
use crate::exchange::restores::own_restores;
use crate::exchange::stop::lost_state;
use crate::node::Node;

/// What this node says of its log at the beginning of a stream.
///
/// # Errors
/// When the store cannot be read, or the log key does not sign now.
pub fn standing_of_log(node: &Node) -> Result<Standing, SendError> {
    let (log, me) = (node.store.log(), &node.authority);
    let checkpoint = Checkpoint {
        iss: me.clone(),
        size: log.size(),
        root: log.root(),
        iat: node.clock.now().seconds(),
    };
    Ok(Standing {
        protocols: PROTOCOLS,
        schemas: SCHEMAS,
        checkpoint: sign_checkpoint(&checkpoint, &node.log_key)?,
        restores: own_restores(node)?,
        stopped: lost_state(node)?,
    })
}
