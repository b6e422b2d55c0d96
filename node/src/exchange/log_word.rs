//! Reads the signed words of an authority on its own log.

use super::statement::{HEAD_TYP, Head};
use crate::audit;
use crate::id::{AuthorityId, KeyId, Timestamp};
use crate::jose::{self, PublicKey};
use crate::node::{LogWord, Node};

impl LogWord {
    /// Reads a word of `iss`: a head for `aud`, a checkpoint, or the head from which a restore
    /// continues.
    pub(super) fn verify(
        jws: &str,
        (iss, aud): (&AuthorityId, &AuthorityId),
        statement_key: impl FnOnce(&KeyId) -> Option<PublicKey>,
        log_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Option<Self> {
        let word = |size, root, iat| {
            Some(Self { size, root, signed_at: Timestamp::from_seconds(iat), jws: jws.to_owned() })
        };
        if let Ok(head) = jose::verify::<Head>(HEAD_TYP, jws, statement_key) {
            let ours = head.iss == *iss && head.aud == *aud;
            return ours.then(|| word(head.log_size, head.log_root, head.iat)).flatten();
        }
        if let Ok(checkpoint) = audit::verify_checkpoint_by(jws, &log_key) {
            let ours = checkpoint.iss == *iss;
            return ours.then(|| word(checkpoint.size, checkpoint.root, checkpoint.iat)).flatten();
        }
        let restore = audit::verify_restore(jws, &log_key).ok().filter(|r| r.iss == *iss)?;
        word(restore.new_size, restore.new_root, restore.iat)
    }

    /// A word of a peer's.
    pub(super) fn of_peer(node: &Node, peer: &AuthorityId, jws: &str) -> Option<Self> {
        let (directory, now) = (node.directory.load(), node.clock.now());
        Self::verify(
            jws,
            (peer, &node.authority),
            |kid| directory.statement_key(peer, kid, now),
            |kid| directory.log_key(peer, kid, now),
        )
    }

    /// A word of this node's own, shown by a peer.
    pub(super) fn of_own(node: &Node, peer: &AuthorityId, jws: &str) -> Option<Self> {
        Self::verify(
            jws,
            (&node.authority, peer),
            |kid| node.own_statement_key(kid),
            |kid| node.own_log_key(kid),
        )
    }

    pub(super) fn of_head(head: &Head, jws: &str) -> Self {
        Self {
            size: head.log_size,
            root: head.log_root,
            signed_at: Timestamp::from_seconds(head.iat),
            jws: jws.to_owned(),
        }
    }
}
