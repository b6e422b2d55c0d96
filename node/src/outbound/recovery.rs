//! Fetches this node's own later statements from the peers that hold them, after a loss of state.

use entente_proto::exchange::RecoverRequest;
use entente_proto::exchange::exchange_client::ExchangeClient;

use crate::exchange;
use crate::id::{AuthorityId, printable};
use crate::node::SharedNode;

/// What recovery brought.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Statements that were later than what was held, and are kept now.
    pub recovered: u64,
    /// Peers that answered to the end.
    pub asked: Vec<AuthorityId>,
    /// Peers that did not, and why.
    pub failed: Vec<(AuthorityId, String)>,
}

/// Asks every active peer for the statements it holds of this node.
pub async fn recover(node: &SharedNode) -> Recovered {
    let mut result = Recovered::default();
    for peer in super::active_peers(node) {
        match recover_from(node, &peer, &mut result.recovered).await {
            Ok(()) => result.asked.push(peer),
            Err(reason) => result.failed.push((peer, reason)),
        }
    }
    result
}

async fn recover_from(
    node: &SharedNode,
    peer: &AuthorityId,
    recovered: &mut u64,
) -> Result<(), String> {
    let channel = super::connect(node, peer).await?;
    let answer = ExchangeClient::new(channel).recover(RecoverRequest {}).await;
    let mut statements = answer.map_err(|status| printable(status.message()))?.into_inner();
    while let Some(message) =
        statements.message().await.map_err(|status| printable(status.message()))?
    {
        match exchange::keep_recovered(node, &message.statement).await {
            Ok(new) => *recovered += u64::from(new),
            Err(exchange::RecoverError::Alert(error)) => {
                tracing::warn!(%peer, "a statement handed back was not kept: {error}");
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}
