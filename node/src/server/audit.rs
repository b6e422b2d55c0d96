//! The desk door's service for auditors: the unchanged leaves of the log, signed heads, and proofs.

use std::sync::Arc;

use entente_proto::admin as proto;
use entente_proto::admin::audit_server::Audit;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::admin;
use crate::audit::{Entry, Operation, Proof, consistency_path, inclusion_path, leaf_hash};
use crate::node::SharedNode;
use crate::reason::Reason;
use crate::store::StoreError;
use crate::trust::{Ending, Part};
use crate::wire::admin::admin_status;
use crate::wire::refusal::{Malformed, refusal};
use crate::worker;

/// Leaves read at a time. Together with those on their way they fit into what the gate reserves for
/// a call.
const PAGE: usize = 128;

/// Leaves on their way to the caller.
const ANSWERS_MAX: usize = 64;

/// Most proofs made at once: each needs the hashes of the whole log, 32 MiB for a million entries.
const PROOFS_MAX: usize = 1;

/// The service.
#[derive(Clone)]
pub struct AuditService {
    node: SharedNode,
    proofs: Arc<Semaphore>,
}

impl AuditService {
    /// For this node.
    pub fn new(node: SharedNode) -> Self {
        Self { node, proofs: Arc::new(Semaphore::new(PROOFS_MAX)) }
    }
}

#[tonic::async_trait]
impl Audit for AuditService {
    type ListEntriesStream = ReceiverStream<Result<proto::Entry, Status>>;

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<Self::ListEntriesStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let (node, asked) = (self.node.clone(), request.into_inner());
        let known = |word: &str| Operation::ALL.iter().any(|known| known.as_str() == word);
        if !asked.operation.is_empty() && !known(&asked.operation) {
            return Err(Malformed("operation").into());
        }
        tokio::spawn(async move {
            if let Err(error) = send_entries(&node, &asked, &answers).await {
                let _ = answers.send(Err(admin_status(&error.into()))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn checkpoint(
        &self,
        _: Request<proto::CheckpointRequest>,
    ) -> Result<Response<proto::CheckpointResponse>, Status> {
        let node = &self.node;
        if let Some(at) = node.ends.load().ended(Part::LogKey, node.clock.now()) {
            let ended = Ending { part: Part::LogKey, at, ended: true };
            return Err(refusal(Code::FailedPrecondition, Reason::LogKeyEnded, &ended.to_string()));
        }
        let checkpoint = admin::checkpoint(node).await.map_err(|error| admin_status(&error))?;
        let log_key = serde_json::to_string(&node.log_key.public()).unwrap_or_default();
        Ok(Response::new(proto::CheckpointResponse { checkpoint, log_key }))
    }

    async fn proof(
        &self,
        request: Request<proto::ProofRequest>,
    ) -> Result<Response<proto::ProofResponse>, Status> {
        let (node, asked) = (self.node.clone(), request.into_inner());
        let turn = Arc::clone(&self.proofs).acquire_owned().await.map_err(|_| out_of_log())?;
        let proof = worker::run(&self.node.authority, "proof", move || {
            let _turn = turn;
            proof(&node, &asked)
        });
        let proof = proof.await.map_err(|error| admin_status(&error.into()))?;
        proof
            .map_err(|error| admin_status(&error.into()))?
            .map(Response::new)
            .ok_or_else(out_of_log)
    }
}

fn out_of_log() -> Status {
    refusal(
        Code::OutOfRange,
        Reason::NotInTheLog,
        "the log is shorter: take a place below its size",
    )
}

/// Sends the leaves that fit the filters, as many as asked for.
async fn send_entries(
    node: &SharedNode,
    asked: &proto::ListEntriesRequest,
    answers: &mpsc::Sender<Result<proto::Entry, Status>>,
) -> Result<(), StoreError> {
    let end = node.store.log().size();
    let mut left = if asked.limit == 0 { u64::MAX } else { asked.limit };
    let mut from = asked.from;
    while from < end && left > 0 {
        let page = node.store.leaves(from, PAGE)?;
        if page.is_empty() {
            return Err(StoreError::Corrupt(format!("entry {from} of the log is missing")));
        }
        tokio::task::yield_now().await;
        for (index, leaf) in page {
            from = index + 1;
            if index >= end || left == 0 {
                return Ok(());
            }
            if fits(asked, &leaf) {
                left -= 1;
                if answers.send(Ok(proto::Entry { index, leaf })).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn fits(asked: &proto::ListEntriesRequest, leaf: &[u8]) -> bool {
    if asked.operation.is_empty() && asked.alert.is_empty() && asked.actor.is_empty() {
        return true;
    }
    let Ok(entry) = Entry::parse(leaf) else { return false };
    let same = |asked: &str, held: &str| asked.is_empty() || asked == held;
    let alert = entry.alert.map(|id| id.to_string()).unwrap_or_default();
    same(&asked.operation, entry.operation.as_str())
        && same(&asked.alert, &alert)
        && same(&asked.actor, &entry.actor)
}

/// `None` when the place lies beyond the log.
fn proof(
    node: &SharedNode,
    asked: &proto::ProofRequest,
) -> Result<Option<proto::ProofResponse>, StoreError> {
    let tree = node.store.log();
    let mut leaves = Vec::new();
    while (leaves.len() as u64) < tree.size() {
        let page = node.store.leaves(leaves.len() as u64, PAGE)?;
        if page.is_empty() {
            return Err(StoreError::Corrupt("an entry of the log is missing".to_owned()));
        }
        leaves.extend(page.into_iter().map(|(_, leaf)| leaf_hash(&leaf)));
    }
    leaves.truncate(usize::try_from(tree.size()).unwrap_or(usize::MAX));
    let place = if asked.old_size == 0 { asked.index } else { asked.old_size - 1 };
    if place >= tree.size() {
        return Ok(None);
    }
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let path: Proof = match asked.old_size {
        0 => inclusion_path(place, &leaves),
        _ => consistency_path(place + 1, &leaves),
    };
    Ok(Some(proto::ProofResponse {
        size: tree.size(),
        path: path.iter().map(|digest| digest.0.to_vec()).collect(),
        root: tree.root().0.to_vec(),
    }))
}
