//! `peer test`: each step towards a peer in turn, with what to do about the first that fails.

use std::time::Duration;

use entente_proto::exchange::exchange_client::ExchangeClient;
use entente_proto::exchange::{DescribeRequest, DescribeResponse};

use crate::alert::SCHEMA;
use crate::exchange::PROTOCOL;
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S};
use crate::node::SharedNode;
use crate::store::StreamsOut;

/// One step of `entente peer test`.
#[derive(Clone, Debug)]
pub struct TestStep {
    /// `trust`, `name`, `tcp`, `tls`, `their trust`, `version`, `clock` or `stream`.
    pub name: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when it went well.
    pub hint: String,
}

impl TestStep {
    pub(super) fn passed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: true, found: found.into(), hint: String::new() }
    }

    pub(super) fn failed(
        name: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { name, ok: false, found: found.into(), hint: hint.into() }
    }
}

/// Tries each step towards a peer in turn; stops at the first that fails.
pub async fn test_peer(node: &SharedNode, peer: &AuthorityId) -> Vec<TestStep> {
    let mut steps = Vec::new();
    let _ = try_steps(node, peer, &mut steps).await;
    steps
}

/// `None` as soon as a step fails; it is the last in `steps` then.
async fn try_steps(node: &SharedNode, peer: &AuthorityId, steps: &mut Vec<TestStep>) -> Option<()> {
    let known = our_trust(node, peer);
    let active = known.ok;
    steps.push(known);
    if !active {
        return None;
    }
    let channel = super::connect_stepwise(node, peer, steps).await?;
    let described = ExchangeClient::new(channel).describe(DescribeRequest {}).await;
    let theirs = match described {
        Ok(theirs) => theirs.into_inner(),
        Err(status) => {
            steps.push(TestStep::failed(
                "their trust",
                format!("the peer refused the call: {}", status.message()),
                "ask its coordinator whether this authority is imported and approved there \
                 (`entente peer show`), with the fingerprint that `entente peer export` prints here",
            ));
            return None;
        }
    };
    steps.push(TestStep::passed("their trust", format!("we are {} there", theirs.caller_state)));
    for step in [version(&theirs), clock(node, &theirs), stream(node, peer, &theirs).await] {
        let ok = step.ok;
        steps.push(step);
        if !ok {
            return None;
        }
    }
    Some(())
}

fn our_trust(node: &SharedNode, peer: &AuthorityId) -> TestStep {
    let directory = node.directory.load();
    match directory.peer(peer) {
        None => TestStep::failed(
            "trust",
            "this peer is not known here",
            "import its descriptor with `entente peer import FILE`",
        ),
        Some(_) if directory.active(peer).is_some() => TestStep::passed("trust", "active here"),
        Some(known) => TestStep::failed(
            "trust",
            format!("the peer is {:?} here", known.peer.state).to_lowercase(),
            "a coordinator approves it with `entente peer approve`, or resumes it with `entente peer resume`",
        ),
    }
}

fn version(theirs: &DescribeResponse) -> TestStep {
    let found = format!(
        "{}, protocols {:?}, schemas {} to {}",
        printable(&theirs.software),
        theirs.protocols,
        theirs.schema_min,
        theirs.schema_max
    );
    if !theirs.protocols.contains(&PROTOCOL) {
        return TestStep::failed("version", found, "one of the two nodes must be updated");
    }
    if theirs.schema_max < SCHEMA {
        let hint = "alerts wait until the peer has updated; `entente peer parked` lists them";
        return TestStep::failed("version", found, hint);
    }
    TestStep::passed("version", found)
}

fn clock(node: &SharedNode, theirs: &DescribeResponse) -> TestStep {
    let skew = theirs.time.saturating_sub(node.clock.now().seconds());
    let found = format!("their clock is {skew:+} s off ours");
    if skew.abs() <= CLOCK_TOLERANCE_S {
        return TestStep::passed("clock", found);
    }
    let hint = "more than 300 s make alerts wait: check time synchronisation at both nodes";
    TestStep::failed("clock", found, hint)
}

/// How long a stream that is about to open is waited for.
const STREAM_WAIT: Duration = Duration::from_secs(5);

/// How often it is looked at meanwhile.
const STREAM_LOOK: Duration = Duration::from_millis(100);

async fn stream(node: &SharedNode, peer: &AuthorityId, theirs: &DescribeResponse) -> TestStep {
    let opened = async {
        while !node.streams.status(peer).sending {
            tokio::time::sleep(STREAM_LOOK).await;
        }
    };
    // Whether it opened in time is looked at below.
    let _ = tokio::time::timeout(STREAM_WAIT, opened).await;
    let Ok(Some(ours)) = node.store.get::<StreamsOut>(peer) else {
        return TestStep::failed("stream", "no stream to this peer", "approve the peer again");
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
    let hint = status.problem.unwrap_or_else(|| "it opens within a minute".to_owned());
    TestStep::failed("stream", found, hint)
}

/// A peer's text, as far as it may go to a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
