//! What one authority's node holds in memory: its name, keys, clock, store, and the peers and policy in force. Use cases take it as their first argument.

use std::sync::Arc;
use arc_swap::ArcSwap;
use crate::id::{AuthorityId, Clock, Entropy, PolicyVersion};
use crate::jose::SigningKey;
use crate::policy::Policy;
use crate::store::{Store, StoreError};
use crate::trust::Directory;

/// The node.
pub struct Node {
    /// who
    pub authority: AuthorityId,
    /// time
    pub clock: Clock,
    /// randomness
    pub entropy: Entropy,
    /// store
    pub store: Store,
    /// signs alerts, heads, receipts
    pub statement_key: SigningKey,
    /// signs checkpoints
    pub log_key: SigningKey,
    /// the own descriptor, as signed by the identity key; `None` until it was signed
    pub descriptor: ArcSwap<Option<crate::trust::SignedDescriptor>>,
    /// peers now
    pub directory: ArcSwap<Directory>,
    /// policy now
    pub policy: ArcSwap<(PolicyVersion, Policy)>,
    /// copies are leases of this long (48 h), seconds
    pub copy_lease_s: i64,
    /// a peer not heard for this long is silent (4 h), seconds
    pub peer_silence_s: i64,
    /// live state of streams, kept by the exchange use cases
    pub streams: crate::exchange::Streams,
}

impl Node {
    /// Rebuilds directory and policy from the store; called at start and after each change of either.
    pub fn refresh(&self) -> Result<(), StoreError> { todo!() }
}

/// Shared by every door and loop.
pub type SharedNode = Arc<Node>;
