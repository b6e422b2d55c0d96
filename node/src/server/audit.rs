//! The desk door's service for auditors: the unchanged leaves of the log, signed heads, and proofs.

use std::sync::Arc;

use entente_proto::admin as proto;
use entente_proto::admin::audit_server::Audit;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::admin;
use crate::audit::{Operation, Proof, consistency_path, inclusion_path, leaf_hash};
use crate::id::Timestamp;
use crate::node::SharedNode;
use crate::reason::Reason;
use crate::store::{LogFilter, StoreError};
use crate::trust::{Ending, Part};
use crate::wire::admin::admin_status;
use crate::wire::refusal::{Malformed, refusal};
use crate::worker;

/// Leaves read at a time for a proof.
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
        let filter = filter(&asked)?;
        tokio::spawn(async move {
            if let Err(error) = send_entries(&node, &filter, &asked, &answers).await {
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

/// Which entries are asked for.
fn filter(asked: &proto::ListEntriesRequest) -> Result<LogFilter, Malformed> {
    let known = |known: &Operation| known.as_str() == asked.operation;
    let operation = Operation::ALL.into_iter().find(known);
    if operation.is_none() && !asked.operation.is_empty() {
        return Err(Malformed("operation"));
    }
    let alert = Some(asked.alert.as_str()).filter(|alert| !alert.is_empty());
    let alert = alert.map(str::parse).transpose().map_err(|_| Malformed("alert"))?;
    let actor = Some(asked.actor.clone()).filter(|actor| !actor.is_empty());
    let time = |seconds| (seconds != 0).then(|| Timestamp::from_seconds(seconds));
    let (since, until) = (time(asked.since), time(asked.until));
    Ok(LogFilter { operation, alert, actor, since, until })
}

/// Sends the leaves that fit, as many as asked for.
async fn send_entries(
    node: &SharedNode,
    filter: &LogFilter,
    asked: &proto::ListEntriesRequest,
    answers: &mpsc::Sender<Result<proto::Entry, Status>>,
) -> Result<(), StoreError> {
    let size = node.store.log().size();
    let (first, end) = node.store.log_range(filter)?;
    let (mut from, end) = (asked.from.max(first), end.min(size));
    let mut left = if asked.limit == 0 { u64::MAX } else { asked.limit };
    while from < end {
        let found = node.store.find_leaves(filter, from, end)?;
        from = found.next;
        tokio::task::yield_now().await;
        for (index, leaf) in found.leaves {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            if answers.send(Ok(proto::Entry { index, leaf })).await.is_err() {
                return Ok(());
            }
        }
        if left == 0 {
            return Ok(());
        }
    }
    Ok(())
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
