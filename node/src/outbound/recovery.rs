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
        match recover_from(node, &peer).await {
            Ok(new) => {
                result.recovered += new;
                result.asked.push(peer);
            }
            Err(reason) => result.failed.push((peer, reason)),
        }
    }
    result
}

/// Fetches back everything that one peer holds of this node; returns how many statements were new here.
pub(super) async fn recover_from(node: &SharedNode, peer: &AuthorityId) -> Result<u64, String> {
    let channel = super::connect(node, peer).await?;
    let answer = ExchangeClient::new(channel).recover(RecoverRequest {}).await;
    let mut statements = answer.map_err(refused)?.into_inner();
    let (mut given, mut new) = (0, 0);
    while let Some(message) = statements.message().await.map_err(refused)? {
        given += 1;
        match exchange::keep_recovered(node, peer, &message.statement).await {
            Ok(kept) => new += u64::from(kept),
            Err(exchange::RecoverError::Alert(error)) => {
                tracing::warn!(%peer, "a statement handed back was not kept: {error}");
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    exchange::asked(node, peer, given).await.map_err(|error| error.to_string())?;
    Ok(new)
}

fn refused(status: tonic::Status) -> String {
    printable(status.message())
}
