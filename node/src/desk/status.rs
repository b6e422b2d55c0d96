//! How the node and its streams stand, for its own people.

use crate::exchange::{self, Heard};
use crate::id::{AuthorityId, PolicyVersion, Timestamp};
use crate::node::{ClockDoubt, Node, StreamStatus, clock_doubt};
use crate::readiness::{Reason, readiness};
use crate::store::{
    Copies, Own, ParkedIn, ParkedOut, Read, Scan, StoreError, StreamIn, StreamOut, StreamsIn,
    StreamsOut,
};
use crate::trust::{Peer, PeerState};

/// Statements counted as parked of one peer: beyond it the number says "many".
const PARKED_MAX: usize = 10_000;

/// How the node stands.
#[derive(Debug)]
pub struct NodeStatus {
    /// Whose node it is.
    pub authority: AuthorityId,
    /// Live alerts of our own.
    pub own_alerts: u64,
    /// Live alerts of others.
    pub copies: u64,
    /// Received notices that nobody here acknowledged.
    pub notices_open: u64,
    /// Nothing is issued, since state was lost.
    pub lost_state: bool,
    /// Policy version in force.
    pub policy_version: PolicyVersion,
    /// What is wrong with this node's log, in a sentence.
    pub log_alarm: Option<String>,
    /// Every peer that is not removed, in the order of their names.
    pub peers: Vec<PeerStatus>,
    /// The source of time.
    pub clock: ClockStatus,
    /// What is not as it should be.
    pub reasons: Vec<Reason>,
}

/// How the two streams with a peer stand.
#[derive(Debug)]
pub struct PeerStatus {
    /// Whose.
    pub authority: AuthorityId,
    /// How the peer stands here.
    pub state: PeerState,
    /// What is true only while this process runs.
    pub live: StreamStatus,
    /// Our stream to it, as written down.
    pub out: Option<StreamOut>,
    /// Places of the feed that are not decided yet for it.
    pub behind: u64,
    /// Its stream to us, as written down.
    pub received: StreamIn,
    /// When it was last heard, where it was since the start.
    pub heard_at: Option<Timestamp>,
    /// For how long it could have been heard and was not, in seconds.
    pub unheard_s: i64,
    /// It was not heard for longer than the configured silence.
    pub silent: bool,
    /// Statements that it refused.
    pub parked_out: u64,
    /// Statements of it that were refused here.
    pub parked_in: u64,
    /// What is wrong with its log, in a sentence.
    pub log_alarm: Option<String>,
}

/// What time it is, and by whose word.
#[derive(Debug)]
pub struct ClockStatus {
    /// What the machine's clock shows.
    pub shown: Timestamp,
    /// What the node goes by.
    pub believed: Timestamp,
    /// Why the two may differ.
    pub doubt: Option<ClockDoubt>,
}

/// How the node stands now.
///
/// # Errors
/// When the store cannot be read.
pub fn status(node: &Node) -> Result<NodeStatus, StoreError> {
    let directory = node.directory.load();
    let known = directory.all().map(|known| &known.peer);
    let known = known.filter(|peer| peer.state != PeerState::Removed);
    let mut peers = known.map(|peer| peer_status(node, peer)).collect::<Result<Vec<_>, _>>()?;
    peers.sort_by(|a, b| a.authority.cmp(&b.authority));
    Ok(NodeStatus {
        notices_open: super::open_notices(node)?,
        authority: node.authority.clone(),
        own_alerts: node.store.count::<Own>(),
        copies: node.store.count::<Copies>(),
        lost_state: exchange::lost_state(node)?,
        policy_version: node.policy.load().0,
        log_alarm: exchange::own_log_alarm(node)?,
        peers,
        clock: ClockStatus {
            shown: node.clock.shown(),
            believed: node.clock.now(),
            doubt: clock_doubt(node),
        },
        reasons: readiness(node),
    })
}

fn peer_status(node: &Node, peer: &Peer) -> Result<PeerStatus, StoreError> {
    let authority = &peer.authority;
    let out = node.store.get::<StreamsOut>(authority)?;
    let behind = match &out {
        Some(out) => exchange::behind(node, authority, out)?,
        None => 0,
    };
    let (heard_at, unheard_s) = match exchange::heard(node, peer) {
        Some(Heard::Ago(ago)) => (Some(node.clock.now().plus(-ago)), 0),
        Some(Heard::NotYet(seconds)) => (None, seconds),
        None => (None, 0),
    };
    let parked_out = node.store.scan(Scan::<ParkedOut>::of(authority), PARKED_MAX)?.len();
    let parked_in = node.store.scan(Scan::<ParkedIn>::of(authority), PARKED_MAX)?.len();
    Ok(PeerStatus {
        authority: authority.clone(),
        state: peer.state,
        live: node.streams.status(authority),
        out,
        behind,
        received: node.store.get::<StreamsIn>(authority)?.unwrap_or_default(),
        heard_at,
        unheard_s,
        silent: exchange::is_silent(node, peer),
        parked_out: parked_out as u64,
        parked_in: parked_in as u64,
        log_alarm: exchange::log_alarm(node, authority)?,
    })
}
