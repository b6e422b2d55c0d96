//! `peer test`: takes each step of the connection to a peer in turn.

use std::error::Error;

use entente_proto::exchange::DescribeRequest;
use entente_proto::exchange::exchange_client::ExchangeClient;
use tonic::Status;

use super::connection::connect_stepwise;
use crate::admin::{self, Described, THEIR_TRUST_HINT, TestStep};
use crate::id::{AuthorityId, printable};
use crate::node::SharedNode;
use crate::tls::{STEP_TIMEOUT, with_causes};

/// Tries each step of the connection to a peer in turn; stops at the first that fails.
pub async fn test_peer(node: &SharedNode, peer: &AuthorityId) -> Vec<TestStep> {
    let mut steps = Vec::new();
    let _ = try_steps(node, peer, &mut steps).await;
    steps
}

/// Returns as soon as a step fails; that step is then the last in `steps`.
async fn try_steps(node: &SharedNode, peer: &AuthorityId, steps: &mut Vec<TestStep>) -> Option<()> {
    let known = admin::our_trust(node, peer);
    let active = known.ok;
    steps.push(known);
    if !active {
        return None;
    }
    let channel = connect_stepwise(node, peer, steps).await?;
    let mut client = ExchangeClient::new(channel);
    let described = tokio::time::timeout(STEP_TIMEOUT, client.describe(DescribeRequest {})).await;
    let theirs = match described {
        Ok(Ok(theirs)) => Described::from(theirs.into_inner()),
        Ok(Err(status)) => {
            let found = format!("the peer refused the call: {}", refused(&status));
            steps.push(TestStep::failed("their trust", found, THEIR_TRUST_HINT));
            return None;
        }
        Err(_) => {
            let hint = "ask its contact desk whether its node is well: it let the connection in, \
                        and then did not answer";
            steps.push(TestStep::failed("their trust", "no answer within 5 s", hint));
            return None;
        }
    };
    let told = admin::told_by(node, &theirs);
    let go_on = told.iter().all(|step| step.ok);
    steps.extend(told);
    if !go_on {
        return None;
    }
    steps.push(admin::stream(node, peer, &theirs).await);
    Some(())
}

/// A refused certificate appears as a broken connection; the reason is among the causes.
fn refused(status: &Status) -> String {
    let causes =
        status.source().map(|cause| format!(": {}", with_causes(cause))).unwrap_or_default();
    printable(&format!("{}{causes}", status.message()))
}
