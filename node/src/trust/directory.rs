//! The peers as doors and dispatchers see them now; rebuilt at each change and swapped as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::{DatedKey, Peer, PeerState, SignedDescriptor, TrustError};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, KeyId, Timestamp};
use crate::jose::PublicKey;

/// Peers by name.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    peers: HashMap<AuthorityId, Arc<Known>>,
}

/// A peer with its descriptor parsed.
#[derive(Clone, Debug)]
pub struct Known {
    /// As held.
    pub peer: Peer,
    /// As its authority signed it.
    pub descriptor: SignedDescriptor,
}

impl Directory {
    /// From the stored peers.
    ///
    /// # Errors
    /// When a stored descriptor does not verify.
    pub fn new(peers: Vec<Peer>) -> Result<Self, TrustError> {
        let known = |peer: Peer| {
            let descriptor = SignedDescriptor::parse(&peer.descriptor)?;
            Ok((peer.authority.clone(), Arc::new(Known { peer, descriptor })))
        };
        Ok(Self { peers: peers.into_iter().map(known).collect::<Result<_, TrustError>>()? })
    }

    /// By name, in any state.
    pub fn peer(&self, authority: &AuthorityId) -> Option<&Arc<Known>> {
        self.peers.get(authority)
    }

    /// By name, if active.
    pub fn active(&self, authority: &AuthorityId) -> Option<&Arc<Known>> {
        self.peer(authority).filter(|known| known.peer.state == PeerState::Active)
    }

    /// The revision of an active peer.
    pub fn revision(&self, authority: &AuthorityId) -> Option<u64> {
        self.active(authority).map(|known| known.peer.revision)
    }

    /// All, in any state.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Known>> {
        self.peers.values()
    }

    /// The statement key `kid` of an active peer, if it is valid at `now`.
    pub fn statement_key(
        &self,
        authority: &AuthorityId,
        kid: &KeyId,
        now: Timestamp,
    ) -> Option<PublicKey> {
        valid(&self.active(authority)?.descriptor.descriptor().statement_keys, kid, now)
    }

    /// The log key `kid` of an active peer, if it is valid at `now`.
    pub fn log_key(
        &self,
        authority: &AuthorityId,
        kid: &KeyId,
        now: Timestamp,
    ) -> Option<PublicKey> {
        valid(&self.active(authority)?.descriptor.descriptor().log_keys, kid, now)
    }
}

fn valid(keys: &[DatedKey], kid: &KeyId, now: Timestamp) -> Option<PublicKey> {
    keys.iter()
        .find(|dated| dated.key.key_id() == *kid && dated.valid_at(now))
        .map(|dated| dated.key.clone())
}

impl DatedKey {
    /// Whether the key may sign at `now`, give or take the clock tolerance.
    pub fn valid_at(&self, now: Timestamp) -> bool {
        let now = now.seconds();
        self.not_before.saturating_sub(CLOCK_TOLERANCE_S) <= now
            && now <= self.not_after.saturating_add(CLOCK_TOLERANCE_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Entropy;
    use crate::jose::SigningKey;

    #[test]
    fn the_times_of_a_key_may_be_any_numbers() {
        let key = SigningKey::generate(&Entropy::seeded(1)).public();
        let dated = |not_before, not_after| DatedKey { key: key.clone(), not_before, not_after };
        let now = Timestamp::from_seconds(1_800_000_000);
        assert!(dated(i64::MIN, i64::MAX).valid_at(now));
        assert!(!dated(i64::MAX, i64::MIN).valid_at(now));
    }
}
