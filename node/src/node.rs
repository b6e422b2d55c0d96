//! What one authority's node holds in memory: its name, keys, clock and store, and the descriptor,
//! peers and policy in force. Use cases take it as their first argument.

mod clock;
mod noted;
mod streams;
mod users;

pub use clock::{ClockDoubt, ClockWatch, clock_doubt, look_at_clock};
pub(crate) use clock::{believe_clock, believe_with_peers};
pub(crate) use streams::LogWord;
pub use streams::{Live, StreamStatus, Streams, Witness};
pub(crate) use users::enter_user;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::Config;
use crate::id::{AuthorityId, Clock, Entropy, KeyId, PolicyVersion};
use crate::jose::{PublicKey, SigningKey};
use crate::policy::{Policy, PolicyError};
use crate::precedence::Precedence;
use crate::store::{Peers, Policies, PolicyRecord, Scan, Store, StoreError, User, Users};
use crate::tls::Published;
use crate::trust::{Directory, Ends, Peer, SignedDescriptor, TrustError};

/// The node, shared by every door and loop.
pub type SharedNode = Arc<Node>;

/// The node.
pub struct Node {
    /// Whose node it is.
    pub authority: AuthorityId,
    /// Its home folder.
    pub home: PathBuf,
    /// Its configuration at the start.
    pub config: Config,
    /// The source of time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// Its store.
    pub store: Store,
    /// Signs alerts, heads and receipts.
    pub statement_key: SigningKey,
    /// Signs checkpoints of the audit log.
    pub log_key: SigningKey,
    /// The own descriptor, as the identity key signed it.
    pub descriptor: ArcSwap<Option<SignedDescriptor>>,
    /// The peers as they are now; the exchange door looks here at each handshake.
    pub directory: Arc<ArcSwap<Directory>>,
    /// The users as they are now, by name.
    pub users: ArcSwap<HashMap<String, User>>,
    /// The sharing policy in force, with its version; 0 is the empty policy of a new node.
    pub policy: ArcSwap<(PolicyVersion, Policy)>,
    /// A copy counts as confirmed for this long (decision 11), in seconds.
    pub copy_lease_s: i64,
    /// A peer that was not heard from for this long is silent, in seconds.
    pub peer_silence_s: i64,
    /// When it started, by the monotonic clock, in seconds.
    pub started: i64,
    /// Entries of the log when this process began.
    pub log_size_at_start: u64,
    /// The live state of the streams, kept by the exchange use cases.
    pub streams: Streams,
    /// Announces each change of peers, users or policy.
    pub refreshed: watch::Sender<()>,
    /// Lets people go before imports.
    pub precedence: Precedence,
    /// When certificates and keys expire.
    pub ends: ArcSwap<Ends>,
    /// Who the node is in TLS, and who may come in; empty before its doors are open.
    pub tls: OnceLock<Arc<Published>>,
    refreshing: Mutex<()>,
}

/// What a node is made of, besides what it reads from its store.
pub struct Parts {
    /// The home folder.
    pub home: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// The source of time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// Its store.
    pub store: Store,
    /// Signs alerts, heads and receipts.
    pub statement_key: SigningKey,
    /// Signs checkpoints of the audit log.
    pub log_key: SigningKey,
    /// The own descriptor.
    pub descriptor: Option<SignedDescriptor>,
}

impl Node {
    /// A node with the peers and the policy its store holds.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a peer or a policy that does not parse.
    pub fn new(parts: Parts) -> Result<SharedNode, NodeError> {
        let exchange = &parts.config.exchange;
        parts.clock.watch(noted::noted(&parts.store)?);
        let node = Self {
            authority: parts.config.authority.clone(),
            copy_lease_s: i64::from(exchange.copy_lease_s),
            peer_silence_s: i64::from(exchange.peer_silence_s),
            directory: Arc::new(ArcSwap::from_pointee(directory(&parts.store)?)),
            users: ArcSwap::from_pointee(users(&parts.store)?),
            policy: ArcSwap::from_pointee(policy(&parts.store)?),
            descriptor: ArcSwap::from_pointee(parts.descriptor),
            started: parts.clock.elapsed(),
            log_size_at_start: parts.store.log().size(),
            streams: Streams::default(),
            refreshed: watch::Sender::new(()),
            precedence: Precedence::default(),
            ends: ArcSwap::default(),
            tls: OnceLock::new(),
            refreshing: Mutex::new(()),
            home: parts.home,
            config: parts.config,
            clock: parts.clock,
            entropy: parts.entropy,
            store: parts.store,
            statement_key: parts.statement_key,
            log_key: parts.log_key,
        };
        Ok(Arc::new(node))
    }

    /// Rebuilds directory, users and policy from the store, after each change of any of them. If
    /// one does not parse, all stay as they were.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a peer or a policy that does not parse.
    pub fn refresh(&self) -> Result<(), NodeError> {
        // If two run at once, the one that read earlier must not publish later: it would let a
        // removed user in again.
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = directory(&self.store)?;
        let (users, policy) = (users(&self.store)?, policy(&self.store)?);
        self.users.store(Arc::new(users));
        self.directory.store(Arc::new(directory));
        self.policy.store(Arc::new(policy));
        self.refreshed.send_replace(());
        Ok(())
    }

    /// A statement key of this node itself: the one in use, or another of its descriptor.
    pub fn own_statement_key(&self, kid: &KeyId) -> Option<PublicKey> {
        let used = self.statement_key.public();
        if used.key_id() == *kid {
            return Some(used);
        }
        let descriptor = self.descriptor.load();
        let keys = &descriptor.as_ref().as_ref()?.descriptor().statement_keys;
        keys.iter().map(|dated| &dated.key).find(|key| key.key_id() == *kid).cloned()
    }

    /// A log key of this node itself: the one in use, or another of its descriptor.
    pub fn own_log_key(&self, kid: &KeyId) -> Option<PublicKey> {
        let used = self.log_key.public();
        if used.key_id() == *kid {
            return Some(used);
        }
        let descriptor = self.descriptor.load();
        let keys = &descriptor.as_ref().as_ref()?.descriptor().log_keys;
        keys.iter().map(|dated| &dated.key).find(|key| key.key_id() == *kid).cloned()
    }
}

/// Why the node's memory could not be built from its store; each is a fault of this node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kept peer does not parse.
    #[error("a peer in the store cannot be read: {0}")]
    Peer(#[from] TrustError),
    /// A kept policy does not parse.
    #[error("the policy in the store cannot be read: {0}")]
    Policy(#[from] PolicyError),
}

fn directory(store: &Store) -> Result<Directory, NodeError> {
    let mut peers: Vec<Peer> = Vec::new();
    Scan::<Peers>::all().for_each(store, |_, peer| peers.push(peer))?;
    Ok(Directory::new(peers)?)
}

fn users(store: &Store) -> Result<HashMap<String, User>, StoreError> {
    let mut users = HashMap::new();
    Scan::<Users>::all().for_each(store, |name, user| drop(users.insert(name, user)))?;
    Ok(users)
}

fn policy(store: &Store) -> Result<(PolicyVersion, Policy), NodeError> {
    let mut newest = None;
    let note = |version, record: PolicyRecord| newest = Some((version, record.source));
    Scan::<Policies>::all().for_each(store, note)?;
    match newest {
        Some((version, source)) => Ok((version, Policy::parse(&source)?)),
        None => Ok((0, Policy::empty())),
    }
}
