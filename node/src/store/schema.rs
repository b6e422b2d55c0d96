//! The tables: what is kept, under which key. No personal data is stored in clear: contents are
//! sealed, match keys are keyed hashes.

use serde::{Deserialize, Serialize};

use super::{Subject, Table};
use crate::alert::ClaimSet;
use crate::audit::Tree;
use crate::id::{
    AlertId, AuthorityId, Digest, Epoch, FeedSeq, NoticeId, PolicyVersion, StreamSeq, Timestamp,
    Version,
};
use crate::trust::Peer;

/// Tables whose records are counted in memory.
pub const COUNTED: [u8; 5] =
    [Own::PREFIX, Copies::PREFIX, Tombstones::PREFIX, ParkedOut::PREFIX, ParkedIn::PREFIX];

/// Place of a key in the slot file.
pub type SlotId = u64;

/// Keyed hash of a match key.
pub type IndexKey = [u8; 16];

/// Declares a table.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident = $prefix:literal: $key:ty => $value:ty) => {
        $(#[$doc])*
        pub enum $name {}
        impl Table for $name {
            const PREFIX: u8 = $prefix;
            type Key = $key;
            type Value = $value;
        }
    };
}

table!(/// Single values: schema version, owner, what is stopped.
    Meta = 0x01: String => Vec<u8>);
table!(/// The authority's own alerts, live ones.
    Own = 0x10: AlertId => OwnAlert);
table!(/// Received copies.
    Copies = 0x11: AlertId => HeldCopy);
table!(/// What was erased, own and received: refuses re-import.
    Tombstones = 0x12: AlertId => Tombstone);
table!(/// Index of match keys.
    Matches = 0x13: (IndexKey, AlertId) => MatchEntry);
table!(/// Digest of an imported draft (keyed hash) → the alert it made.
    Imports = 0x14: IndexKey => AlertId);
table!(/// Alerts by their last change, newest first, within a facet: keyed by u64::MAX less the
    /// entry of the log.
    Recent = 0x15: (IndexKey, u64) => RecentAlert);
table!(/// The last change of each alert, to find its places in `Recent`.
    LastChanges = 0x16: AlertId => LastChange);
table!(/// Notices by the other authority: those that it sent, and those that were sent to it.
    Notices = 0x17: (AuthorityId, NoticeId) => HeldNotice);
table!(/// When notices are erased.
    NoticeEnds = 0x18: (Timestamp, (AuthorityId, NoticeId)) => ());
table!(/// How many notices are held of an authority, and to it.
    NoticeTallies = 0x19: AuthorityId => NoticeCounts);
table!(/// The feed of outgoing statements: each live alert or withdrawal stands in it once.
    Feed = 0x20: FeedSeq => FeedEntry);
table!(/// Peers.
    Peers = 0x21: AuthorityId => Peer);
table!(/// Our stream to a peer.
    StreamsOut = 0x22: AuthorityId => StreamOut);
table!(/// Offered, not yet acknowledged.
    Offers = 0x23: (AuthorityId, StreamSeq) => Offer);
table!(/// The disclosure ledger: what each peer holds or may hold.
    Ledger = 0x24: (AuthorityId, Subject) => LedgerEntry);
table!(/// Ours that the peer refused.
    ParkedOut = 0x25: (AuthorityId, Subject) => Parked);
table!(/// A peer's stream to us.
    StreamsIn = 0x26: AuthorityId => StreamIn);
table!(/// Theirs that we refused.
    ParkedIn = 0x27: (AuthorityId, Subject) => Parked);
table!(/// When what is parked with a peer is offered again.
    Retries = 0x29: (AuthorityId, (Timestamp, Subject)) => ());
table!(/// What is known of a peer's audit log.
    PeerLogs = 0x2A: AuthorityId => PeerLog);
table!(/// Heads of this node's own log that a peer showed, and that are not in it.
    LostHeads = 0x2B: AuthorityId => LostHead);
table!(/// Retractions of ours that a peer handed back: the alert stays with us until two people
    /// confirm otherwise.
    TakenBack = 0x2C: (AuthorityId, AlertId) => String);
table!(/// Peers that were not asked, since state was lost, what they hold of ours.
    Unasked = 0x2D: AuthorityId => ());
table!(/// Restores as signed, own ones and peers', by the size of the log that goes on.
    Restores = 0x2E: (AuthorityId, u64) => String);
table!(/// Own alerts of which a peer holds another version than was issued here: what the next
    /// version follows.
    Forks = 0x2F: AlertId => Fork);
table!(/// Expiry of own alerts and copies, by time.
    Expiries = 0x28: (Timestamp, AlertId) => ());
table!(/// Sharing policies, every version that was ever in force.
    Policies = 0x30: PolicyVersion => PolicyRecord);
table!(/// What waits for a second person.
    Proposals = 0x31: u64 => Proposal);
table!(/// Users of the desk door.
    Users = 0x32: String => User);
table!(/// The audit log: the leaves that became durable together, by the index of the first.
    Log = 0x40: u64 => Leaves);
table!(/// The index of the log: what the entries of a segment are found by, in buckets of terms.
    LogIndex = 0x42: ([u8; 1], u64) => Vec<Posting>);
table!(/// Signed checkpoints by size.
    Checkpoints = 0x41: u64 => String);

/// Bytes of one entry of the audit log.
pub type Leaf = serde_bytes::ByteBuf;

/// Leaves of the audit log that became durable together. A commit that only logs is this one
/// record, which costs half of a batch of two.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leaves {
    /// in their order
    pub leaves: Vec<Leaf>,
    /// what is true after them, in the last record of a commit
    pub at: Option<At>,
}

/// What an entry of the log is found by: the beginning of a digest of its operation, actor or
/// alert.
pub type Term = [u8; 6];

/// Entries of a segment of the log that are found by one term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// the term
    pub term: Term,
    /// from the beginning of the segment to the first entry, and from each to the next
    pub steps: Vec<u16>,
}

/// What is true after a commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct At {
    /// right edge of the log
    pub log: Tree,
    /// last place given away in the feed
    pub feed: FeedSeq,
    /// records of the counted tables, in the order of [`COUNTED`]
    pub counts: [u64; COUNTED.len()],
}

/// Where a sealed token lies.
#[derive(Clone, Serialize, Deserialize)]
pub enum SealedToken {
    /// in the cell of its slot, as earlier versions kept it; its bytes
    Cell(u32),
    /// here: too large for a cell of earlier versions
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// in the file of cells, behind its summary
    Run {
        /// the unit where it begins
        first: u64,
        /// bytes, with the summary
        length: u32,
    },
}

/// An own alert that is live.
#[derive(Clone, Serialize, Deserialize)]
pub struct OwnAlert {
    /// newest
    pub version: Version,
    /// of its issuer-signed JWT
    pub jwt_digest: Digest,
    /// claims held: all that were signed, unless it was recovered
    pub claims: ClaimSet,
    /// place in the feed
    pub feed: FeedSeq,
    /// exact, from the content
    pub expires_at: Timestamp,
    /// key
    pub slot: SlotId,
    /// the token with all disclosures, sealed; associated data: [`associated_data`]
    pub token: SealedToken,
    /// to delete them with it
    pub match_keys: Vec<IndexKey>,
    /// fetched back from peers after a loss of state: disclosures may be missing
    pub recovered: bool,
}

/// A received copy.
#[derive(Clone, Serialize, Deserialize)]
pub struct HeldCopy {
    /// held
    pub version: Version,
    /// of its issuer-signed JWT
    pub jwt_digest: Digest,
    /// claims held
    pub claims: ClaimSet,
    /// epoch of the issuer's stream in which it was last sent
    pub epoch: Epoch,
    /// durable here
    pub received_at: Timestamp,
    /// versions before were not seen
    pub gap: bool,
    /// exact when disclosed, else `exp`
    pub expires_at: Timestamp,
    /// key
    pub slot: SlotId,
    /// the token as received, sealed
    pub token: SealedToken,
    /// to delete them with it
    pub match_keys: Vec<IndexKey>,
}

/// Why content was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erased {
    /// by its issuer, for good
    Withdrawn,
    /// the issuer no longer shares it with us
    Retracted,
    /// its time was over
    Expired,
    /// not confirmed by the issuer's snapshot
    Dropped,
}

impl Erased {
    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Retracted => "retracted",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
        }
    }
}

/// What stays of an erased alert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tombstone {
    /// why
    pub erased: Erased,
    /// last version held
    pub version: Version,
    /// of the last JWT held, if any
    pub jwt_digest: Option<Digest>,
    /// when
    pub at: Timestamp,
    /// withdrawal or retraction, as signed
    pub statement: Option<String>,
}

/// A hit of a match key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MatchEntry {
    /// name of the field, e.g. `passport`
    pub field: String,
    /// own alert or copy
    pub own: bool,
}

/// An alert in the index of recent changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentAlert {
    /// which
    pub id: AlertId,
    /// when it changed
    pub at: Timestamp,
}

/// The last change of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// entry of the log
    pub entry: u64,
    /// held, or erased
    pub live: bool,
    /// keyed hash of the user who created it here
    pub by: Option<IndexKey>,
    /// keyed hash of its case, while it is live
    pub case: Option<IndexKey>,
}

/// A place in the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeedEntry {
    /// whose newest statement stands here
    pub subject: Subject,
    /// whom it is for
    pub to: To,
    /// the statement is a withdrawal (its text is in the tombstone)
    pub withdrawn: bool,
}

/// Whom a statement in the feed is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// whoever policy lets have it
    Everyone,
    /// this authority and no other
    Peer(AuthorityId),
}

impl To {
    /// Whether it may be for this peer.
    pub fn may_be(&self, peer: &AuthorityId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Peer(to) => to == peer,
        }
    }
}

/// Our stream to a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamOut {
    /// number of the stream
    pub epoch: Epoch,
    /// last place offered
    pub tail: StreamSeq,
    /// chain value there
    pub tail_chain: Digest,
    /// last place acknowledged
    pub acked: StreamSeq,
    /// chain value there
    pub acked_chain: Digest,
    /// the feed is decided up to here
    pub cursor: FeedSeq,
    /// what must be decided anew
    pub sweep: Option<Sweep>,
    /// counts the sweeps that were begun: progress of an older one is void
    pub sweeps: u64,
    /// when the last was begun: a rule that ended since takes another
    pub swept_at: Timestamp,
    /// the present view is being sent whole: complete once the feed was decided to its end
    pub snapshot: bool,
    /// stopped, with the reason, until a person acts
    pub halted: Option<String>,
    /// policy in force for this stream: an offer decided under another one is refused
    pub policy: PolicyVersion,
    /// the peer's newest receipt in this epoch, as signed
    pub receipt: String,
}

/// Deciding anew after a change of policy: first what the peer holds (retractions go ahead), then
/// the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sweep {
    /// ledger entries after this subject
    Held(Option<Subject>),
    /// feed entries after this place, up to the cursor
    Feed(FeedSeq),
}

/// What stands at a place of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Offered {
    /// a view of this version with these claims; its bytes follow from both
    View {
        /// version
        version: Version,
        /// claims
        claims: ClaimSet,
    },
    /// withdrawal, as signed
    Withdrawal(String),
    /// retraction, as signed
    Retraction(String),
    /// the notice, which is kept sealed
    Notice,
    /// the acknowledgement of a notice, which is kept sealed
    Acknowledgement,
}

/// An offer: durable before its first byte leaves; from then on it counts as held by the peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// of what
    pub subject: Subject,
    /// what
    pub offered: Offered,
    /// of the statement first offered at this place; the chain runs over it
    pub digest: Digest,
    /// chain value at this place
    pub chain: Digest,
    /// in force when decided
    pub policy: PolicyVersion,
    /// when
    pub at: Timestamp,
}

/// A notice, sent or received.
#[derive(Clone, Serialize, Deserialize)]
pub struct HeldNotice {
    /// the alert that it is about
    pub about: Option<AlertId>,
    /// signed
    pub issued_at: Timestamp,
    /// durable here
    pub at: Timestamp,
    /// the user who sent it here; empty for one that was received, or fetched back
    pub by: String,
    /// of the notice as signed
    pub digest: Digest,
    /// key
    pub slot: SlotId,
    /// the notice as signed, sealed
    pub token: SealedToken,
    /// place in the feed, of one that is sent
    pub feed: Option<FeedSeq>,
    /// of one that is sent: when the receipt for it came
    pub taken_at: Option<Timestamp>,
    /// the word that it was read
    pub acknowledged: Option<Acknowledged>,
}

/// The word that a notice was read.
#[derive(Clone, Serialize, Deserialize)]
pub struct Acknowledged {
    /// signed
    pub issued_at: Timestamp,
    /// the user who acknowledged here; empty where the other authority did
    pub by: String,
    /// of the acknowledgement as signed
    pub digest: Digest,
    /// key
    pub slot: SlotId,
    /// the acknowledgement as signed, sealed
    pub token: SealedToken,
    /// place in the feed, of one that is sent
    pub feed: Option<FeedSeq>,
}

/// Notices of one authority, and to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeCounts {
    /// those that it sent; open are those that nobody here acknowledged
    pub received: Tally,
    /// those that were sent to it; open are those that it did not take yet
    pub sent: Tally,
}

/// How many notices of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// in the store
    pub held: u32,
    /// of those, open
    pub open: u32,
    /// new ones on `day`
    pub today: u32,
    /// days since 1970, UTC
    pub day: i64,
}

/// What was disclosed to a peer at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosed {
    /// epoch
    pub epoch: Epoch,
    /// place
    pub seq: StreamSeq,
    /// version
    pub version: Version,
    /// which claims
    pub claims: ClaimSet,
    /// when offered
    pub at: Timestamp,
}

/// What a peer holds or may hold of a subject; a notice is disclosed as version 1, without claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// acknowledged, newest
    pub held: Option<Disclosed>,
    /// offered: must be taken for held until something newer is acknowledged
    pub possible: Vec<Disclosed>,
    /// a retraction or withdrawal was offered at this place (epoch, seq)
    pub taken_back: Option<(Epoch, StreamSeq)>,
    /// … and acknowledged: the peer confirmed that it erased
    pub erased: bool,
}

/// A refused statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parked {
    /// version
    pub version: Version,
    /// claims that were offered; none known where it was not a view of ours
    pub claims: ClaimSet,
    /// stable reason
    pub reason: String,
    /// when refused
    pub at: Timestamp,
    /// epoch of the stream
    pub epoch: Epoch,
    /// place in the stream
    pub seq: StreamSeq,
    /// offered again at this time; `None`: when its reason goes, or by hand
    pub retry_at: Option<Timestamp>,
}

/// A peer's stream to us.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StreamIn {
    /// number of the stream
    pub epoch: Epoch,
    /// last place committed
    pub seq: StreamSeq,
    /// chain value there
    pub chain: Option<Digest>,
    /// the sender's newest head committed here
    pub head: String,
    /// a snapshot is under way: copies of older epochs stay until it is complete
    pub snapshot: bool,
    /// size and root of the sender's audit log, as its newest head says
    pub log: Option<(u64, Digest)>,
    /// what was refused since the last place that the sender has a receipt for: place and reason
    pub refused: Vec<(StreamSeq, String)>,
}

/// What is known of a peer's audit log, besides what its newest committed head says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLog {
    /// its largest size that it signed
    pub size: u64,
    /// root over it
    pub root: Digest,
    /// when it was signed
    pub signed_at: Timestamp,
    /// head, checkpoint or restore that says so, as signed
    pub word: String,
    /// another log of the same authority, or an older state of this one
    pub other: Option<OtherLog>,
}

/// A second log that an authority showed, and that contradicts the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLog {
    /// its size when it was seen
    pub size: u64,
    /// root over it
    pub root: Digest,
    /// checkpoint or head that says so, as signed
    pub word: String,
    /// when it was seen
    pub at: Timestamp,
    /// the first log was seen again since: two nodes run with the keys of one authority
    pub both: Option<Timestamp>,
}

/// A head of this node's own log that a peer showed, and that is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostHead {
    /// entries of the log that is gone
    pub size: u64,
    /// root over them
    pub root: Digest,
    /// when it was signed
    pub signed_at: Timestamp,
    /// entries that the present log has in common with it, at most
    pub kept: u64,
    /// it grew while this node stood still: another one runs with the same keys
    pub both: bool,
}

/// The version of an own alert that a peer holds and that was not issued by the present log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// the newest version that a peer holds
    pub version: Version,
    /// of its issuer-signed JWT
    pub jwt_digest: Digest,
}

/// A policy that is or was in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// TOML
    pub source: String,
    /// who
    pub applied_by: String,
    /// second person, where needed
    pub approved_by: Option<String>,
    /// when
    pub applied_at: Timestamp,
}

/// What waits for a second person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// what
    pub what: Proposed,
    /// by whom
    pub by: String,
    /// when
    pub at: Timestamp,
}

/// The kinds of proposals. (Peers and users carry their pending state in their own records.)
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Proposed {
    /// a policy made against this version
    Policy {
        /// TOML
        source: String,
        /// version it was compared with
        base: PolicyVersion,
    },
    /// new epochs to all peers after a loss of state
    StartEpoch {
        /// why
        reason: String,
    },
    /// how a node goes on that lost state: policy, peers and users as they were shown
    Restart {
        /// why
        reason: String,
        /// names what was shown
        review: String,
    },
}

/// A user of the desk door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// roles
    pub roles: Vec<crate::roles::Role>,
    /// SHA-256 of the SubjectPublicKeyInfo in the certificate
    pub key: Digest,
    /// pending, active, removed
    pub state: UserState,
    /// who added
    pub added_by: String,
    /// who approved
    pub approved_by: Option<String>,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// waits for a second person
    Pending,
    /// may act
    Active,
    /// may not
    Removed,
}

/// Associated data of an alert's sealed values: table and id, so that no sealed value can be moved.
pub fn associated_data(own: bool, id: &AlertId) -> Vec<u8> {
    format!("{}/{id}", if own { "own" } else { "copy" }).into_bytes()
}

/// Associated data of a sealed notice.
pub fn notice_data(id: &NoticeId) -> Vec<u8> {
    format!("notice/{id}").into_bytes()
}

/// Associated data of a sealed acknowledgement of a notice.
pub fn acknowledgement_data(id: &NoticeId) -> Vec<u8> {
    format!("acknowledgement/{id}").into_bytes()
}
