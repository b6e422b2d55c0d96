//! `peer test`: the steps of the connection to a peer, with what to do about one that fails.
//! `outbound` takes them in turn.

use std::time::Duration;

use crate::alert::SCHEMA;
use crate::exchange::{self, PROTOCOLS};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Versions, printable};
use crate::node::SharedNode;
use crate::store::StreamsOut;
use crate::trust::PeerState;

/// One step of `entente peer test`.
#[derive(Clone, Debug)]
pub struct TestStep {
    /// `trust`, `name`, `tcp`, `tls`, `their trust`, `version`, `health`, `clock` or `stream`.
    pub name: &'static str,
    /// Whether it succeeded.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when it succeeded.
    pub hint: String,
}

impl TestStep {
    /// A step that succeeded.
    pub fn passed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: true, found: found.into(), hint: String::new() }
    }

    /// A step that failed, with what to do about it.
    pub fn failed(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, ok: false, found: found.into(), hint: hint.into() }
    }
}

/// A peer that does not trust us does not say why.
pub const THEIR_TRUST_HINT: &str = "ask its coordinator whether this authority is imported and \
                                    approved there (`entente peer show`), with the newest \
                                    descriptor of this node and the fingerprint that `entente peer \
                                    export` prints here";

/// What a peer says about itself, and about the caller.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its software.
    pub software: String,
    /// Versions of the protocol that it speaks.
    pub protocols: Versions,
    /// Versions of the alert schema that it reads.
    pub schemas: Versions,
    /// The reasons why it refuses its own people.
    pub refusing: Vec<String>,
    /// Its time, in seconds since 1970.
    pub time: i64,
    /// Our state there.
    pub caller_state: String,
    /// The epoch of our stream that it holds.
    pub caller_epoch: u64,
    /// The place in it.
    pub caller_seq: u64,
}

/// The step `trust`: whether the peer is active here.
pub fn our_trust(node: &SharedNode, peer: &AuthorityId) -> TestStep {
    let directory = node.directory.load();
    let Some(known) = directory.peer(peer) else {
        return TestStep::failed(
            "trust",
            "this peer is not known here",
            "import its descriptor with `entente peer import FILE`",
        );
    };
    let hint = match known.peer.state {
        PeerState::Active => return TestStep::passed("trust", "active here"),
        PeerState::Pending => {
            "a coordinator compares the fingerprint with the peer's, then runs `entente peer \
             approve`"
        }
        PeerState::Suspended => {
            "`entente peer resume` with a --reason goes on with it, run by a coordinator; the \
             audit log says who suspended it, and why"
        }
        PeerState::Removed => {
            "import its descriptor again with `entente peer import FILE`; a coordinator then \
             approves it"
        }
    };
    TestStep::failed("trust", format!("the peer is {} here", known.peer.state.as_str()), hint)
}

/// The steps that follow from what the peer says about itself; the last one may have failed.
pub fn told_by(node: &SharedNode, theirs: &Described) -> Vec<TestStep> {
    let state = printable(&theirs.caller_state);
    let mut steps = vec![TestStep::passed("their trust", format!("we are {state} there"))];
    steps.extend(health(theirs));
    let version = version(theirs);
    let goes_on = version.ok;
    steps.push(version);
    steps.extend(goes_on.then(|| clock(node, theirs)));
    steps
}

fn version(theirs: &Described) -> TestStep {
    let found = format!(
        "{}, protocol {}, schema {}",
        printable(&theirs.software),
        theirs.protocols,
        theirs.schemas
    );
    if PROTOCOLS.common(theirs.protocols).is_none() {
        let hint = exchange::no_common_protocol("the peer", theirs.protocols);
        return TestStep::failed("version", found, hint);
    }
    if !theirs.schemas.contains(SCHEMA) {
        let hint = "alerts wait until the peer has upgraded; `entente peer parked` lists them";
        return TestStep::failed("version", found, hint);
    }
    TestStep::passed("version", found)
}

/// Most reasons of a peer that are shown; an honest peer has fewer.
const WORDS_MAX: usize = 8;

/// A peer that refuses its own people still accepts what we send: worth knowing, but no reason to
/// stop the test.
fn health(theirs: &Described) -> Option<TestStep> {
    let words = theirs.refusing.iter().take(WORDS_MAX);
    let words: Vec<_> = words.map(|word| printable(word)).collect();
    let found = format!("it refuses its people's calls: {}", words.join(", "));
    let hint = "call its contact desk: its officers create and find nothing until then".to_owned();
    (!words.is_empty()).then(|| TestStep { hint, ..TestStep::passed("health", found) })
}

fn clock(node: &SharedNode, theirs: &Described) -> TestStep {
    let skew = theirs.time.saturating_sub(node.clock.shown().seconds());
    let found = format!("their clock is {skew:+} s off ours");
    if is_small(skew) {
        return TestStep::passed("clock", found);
    }
    let hint = "more than 300 s make alerts wait: check time synchronisation at both nodes";
    TestStep::failed("clock", found, hint)
}

/// The difference of any two numbers, since the peer may claim any time.
fn is_small(skew: i64) -> bool {
    skew.unsigned_abs() <= CLOCK_TOLERANCE_S.unsigned_abs()
}

/// How long to wait for a stream that is about to open.
const STREAM_WAIT: Duration = Duration::from_secs(5);

/// How often to look at it meanwhile.
const STREAM_LOOK: Duration = Duration::from_millis(100);

/// The step `stream`, after the others succeeded.
pub async fn stream(node: &SharedNode, peer: &AuthorityId, theirs: &Described) -> TestStep {
    let opened = async {
        while !node.streams.status(peer).sending && !halted(node, peer) {
            tokio::time::sleep(STREAM_LOOK).await;
        }
    };
    // The code below checks whether it opened in time.
    let _ = tokio::time::timeout(STREAM_WAIT, opened).await;
    let Ok(Some(ours)) = node.store.get::<StreamsOut>(peer) else {
        return TestStep::failed("stream", "no stream to this peer", REOPEN_HINT);
    };
    let found = format!(
        "epoch {}: offered to {}, acknowledged to {}; the peer holds epoch {} to {}",
        ours.epoch, ours.tail, ours.acked, theirs.caller_epoch, theirs.caller_seq
    );
    if let Some(reason) = ours.halted {
        return TestStep::failed("stream", found, reason);
    }
    let status = node.streams.status(peer);
    if status.sending {
        return TestStep::passed("stream", found);
    }
    let problem = status.problem.unwrap_or_else(|| "it has not opened yet".to_owned());
    let found = format!("{found}; {}", printable(&problem));
    let lost = exchange::lost_state(node).unwrap_or_default();
    TestStep::failed("stream", found, if lost { LOST_STATE_HINT } else { NOT_OPEN_HINT })
}

fn halted(node: &SharedNode, peer: &AuthorityId) -> bool {
    let stream = node.store.get::<StreamsOut>(peer).ok().flatten();
    stream.is_some_and(|stream| stream.halted.is_some())
}

/// Resuming a suspended peer opens a stream; approving it again does not.
const REOPEN_HINT: &str = "run `entente peer suspend PEER --reason TEXT`; a coordinator then runs \
                           `entente peer resume PEER --reason TEXT`";

const LOST_STATE_HINT: &str = "this node lost state: run `entente epoch recover`, then `entente \
                               epoch show`, which says how to go on";

const NOT_OPEN_HINT: &str = "it is tried again within a minute; when that fails too, ask its \
                             contact desk what its node's log says of this authority";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_that_a_peer_names_passes_for_ours_by_overflow() {
        for (skew, small) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
            assert_eq!(is_small(skew), small, "{skew}");
        }
        assert!(!is_small(i64::MIN) && !is_small(i64::MAX));
    }
}
