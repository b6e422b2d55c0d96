//! What the two ends of a stream say first: the sender about its log, the receiver about what it
//! holds.

use std::fmt::Display;

use super::PROTOCOLS;
use super::statement::Nonce;
use crate::alert::SCHEMAS;
use crate::id::{Digest, Epoch, StreamSeq, Versions};

/// What a sender says about its log before anything else.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Versions of the protocol that it speaks.
    pub protocols: Versions,
    /// Versions of the alert schema that it reads.
    pub schemas: Versions,
    /// Its log now: a checkpoint, as signed. Empty from a node of an older version.
    pub checkpoint: String,
    /// The restores that two people there approved, as signed.
    pub restores: Vec<String>,
    /// Whether it knows that it lost state.
    pub stopped: bool,
}

impl Default for Standing {
    fn default() -> Self {
        let (checkpoint, restores, stopped) = (String::new(), vec![], false);
        Self { protocols: PROTOCOLS, schemas: SCHEMAS, checkpoint, restores, stopped }
    }
}

/// What a receiver says first: what it durably holds.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Epoch last committed; 0 when there is none.
    pub epoch: Epoch,
    /// Last place committed in it.
    pub seq: StreamSeq,
    /// Chain value at that place.
    pub chain: Option<Digest>,
    /// The sender's newest head held there.
    pub head: String,
    /// The nonce that the next head must answer.
    pub nonce: Nonce,
    /// The version of the protocol that the stream goes by: the highest that both speak.
    pub protocol: u32,
    /// Versions of the alert schema that the receiver reads.
    pub schemas: Versions,
    /// The sender's signed word with the largest log that was seen here; empty when none was.
    pub log: String,
    /// A signed word of the sender's on a log that contradicts it; empty when none was seen.
    pub other_log: String,
    /// The receiver lost state: it takes nothing until two people there have reviewed what is in
    /// force.
    pub stopped: bool,
}

/// What operators read while nothing goes to a peer that speaks other versions of the protocol.
pub fn no_common_protocol(peer: impl Display, theirs: Versions) -> String {
    let older = match theirs.max < PROTOCOLS.min {
        true => format!("{peer} must upgrade its node"),
        false => "upgrade this node".to_owned(),
    };
    format!("{peer} speaks protocol {theirs}, this node {PROTOCOLS}: {older}")
}
