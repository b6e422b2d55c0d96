//! Fetches this node's own later statements from the peers that hold them, after a loss of state.

use std::time::Duration;

use entente_proto::exchange::RecoverRequest;
use entente_proto::exchange::exchange_client::ExchangeClient;
use tokio::task::JoinSet;

use super::connection::{active_peers, connect};
use crate::admin::Recovered;
use crate::exchange::{self, PROTOCOLS};
use crate::id::{AuthorityId, printable};
use crate::node::SharedNode;

/// How long a peer may take for its next statement: it reads a page of them from disk.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take for all of them, so that the call to recover is answered in time.
const PEER_TIMEOUT: Duration = Duration::from_secs(600);

/// Asks every active peer for the statements that it holds of this node, in parallel, so that one
/// that never ends does not delay the others.
pub async fn recover(node: &SharedNode) -> Recovered {
    let mut asking = JoinSet::new();
    for peer in active_peers(node) {
        let node = node.clone();
        asking.spawn(async move {
            let asked = tokio::time::timeout(PEER_TIMEOUT, recover_from(&node, &peer)).await;
            let late = || Err("it did not come to an end in 10 min: ask again".to_owned());
            (peer, asked.unwrap_or_else(|_| late()))
        });
    }
    let mut result = Recovered::default();
    while let Some(asked) = asking.join_next().await {
        match asked {
            Ok((peer, Ok(new))) => {
                result.recovered += new;
                result.asked.push(peer);
            }
            Ok((peer, Err(reason))) => result.failed.push((peer, reason)),
            // The panic hook has logged a task that panicked.
            Err(_) => {}
        }
    }
    result.asked.sort();
    result.failed.sort();
    result
}

/// Fetches back everything that one peer holds of this node; returns how many statements were new
/// here.
pub(super) async fn recover_from(node: &SharedNode, peer: &AuthorityId) -> Result<u64, String> {
    let channel = connect(node, peer).await?;
    let mut client = ExchangeClient::new(channel);
    let answer = in_time(client.recover(RecoverRequest { protocol: PROTOCOLS.max })).await?;
    let mut statements = answer.into_inner();
    let (mut given, mut new, mut refusals) = (0, 0, 0_u64);
    while let Some(message) = in_time(statements.message()).await? {
        given += 1;
        match exchange::keep_recovered(node, peer, &message.statement).await {
            Ok(kept) => new += u64::from(kept),
            Err(exchange::RecoverError::Alert(error)) => {
                // One line in the log, however many statements it hands back.
                if refusals == 0 {
                    tracing::warn!(%peer, "a statement handed back was not kept: {error}");
                }
                refusals += 1;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    if refusals > 1 {
        tracing::warn!(%peer, count = refusals, "statements handed back were not kept");
    }
    exchange::asked(node, peer, given).await.map_err(|error| error.to_string())?;
    Ok(new)
}

async fn in_time<T>(said: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, String> {
    let said = tokio::time::timeout(STATEMENT_TIMEOUT, said).await;
    let late = |_| format!("it said nothing for {} s", STATEMENT_TIMEOUT.as_secs());
    said.map_err(late)?.map_err(refused)
}

fn refused(status: tonic::Status) -> String {
    printable(status.message())
}
