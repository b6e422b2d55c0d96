//! One connection to one peer: hello, resume, then batches one way and receipts the other.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_client::ExchangeClient;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::connection::connect;
use super::recovery::recover_from;
use crate::admin::Described;
use crate::exchange::{self, Batch, SendError, Sending};
use crate::id::{AuthorityId, printable};
use crate::node::SharedNode;
use crate::reason::Reason;
use crate::store::Change;
use crate::wire::exchange::{FromReceiver, FromSender};
use crate::wire::refusal::{Malformed, is_for};

/// Most batches under way without a receipt: enough to keep both disks busy, few enough to be sent
/// again.
const BATCHES_OPEN_MAX: usize = 4;

/// How long a connection, its hello and its resume may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// How often to check whether a receipt is overdue.
const RECEIPT_LOOK: Duration = Duration::from_millis(500);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{0}")]
    Connect(String),
    #[error("the peer did not give back what it holds of this authority: {0}")]
    Recover(String),
    #[error("the peer did not answer in time")]
    OpenTimeout,
    #[error("the peer sent no receipt in time")]
    NoReceipt,
    #[error("the peer ended the stream: {}", printable(.0.message()))]
    Refused(Status),
    #[error("the peer sent what it may not: {0}")]
    Malformed(#[from] Malformed),
    #[error("the peer did not begin with what it holds")]
    NoResume,
    #[error("{0}")]
    NoCommonProtocol(String),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl SessionError {
    /// Stable, for logs and counters.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "not_reachable",
            Self::Recover(_) => "not_asked_yet",
            Self::OpenTimeout => "open_timeout",
            Self::NoReceipt => "no_receipt",
            Self::Refused(_) => "ended_by_peer",
            Self::Malformed(_) | Self::NoResume => "malformed_message",
            Self::NoCommonProtocol(_) => Reason::UnknownProtocol.as_str(),
            Self::Send(error) => error.reason(),
        }
    }

    /// Whether trying again soon would be useless.
    pub(super) fn waits_for_people(&self) -> bool {
        matches!(self, Self::Send(error) if error.waits_for_people())
    }
}

/// Runs one stream to `peer` until it ends.
pub(super) async fn run(
    node: &SharedNode,
    peer: &AuthorityId,
    heartbeat: Duration,
) -> Result<(), SessionError> {
    exchange::key_in_force(node)?;
    let changes = node.store.changes();
    if exchange::must_ask(node, peer).map_err(SendError::from)? {
        recover_from(node, peer).await.map_err(SessionError::Recover)?;
    }
    let (outbox, mut inbox, theirs) = open(node, peer).await?;
    let sending = Sending::resume(node, peer, &theirs).await?;
    {
        let live = node.streams.live(peer);
        let mut status = live.status();
        status.sending = true;
        status.decided = 0;
        status.problem = None;
    }
    let flow = Flow {
        open: Semaphore::new(BATCHES_OPEN_MAX),
        unanswered: Mutex::new(VecDeque::with_capacity(BATCHES_OPEN_MAX)),
    };
    let (sending, flow) = (&sending, &flow);
    let mut sender = Sender { node, peer, sending, outbox, flow, changes, heartbeat };
    tokio::select! {
        ended = sender.send() => ended,
        ended = take_receipts(node, sending, &mut inbox, flow) => ended,
    }
}

type Outbox = mpsc::Sender<proto::FromSender>;

async fn open(
    node: &SharedNode,
    peer: &AuthorityId,
) -> Result<(Outbox, Streaming<proto::FromReceiver>, exchange::Resume), SessionError> {
    let opening = async {
        let channel = connect(node, peer).await.map_err(SessionError::Connect)?;
        let (outbox, statements) = mpsc::channel(BATCHES_OPEN_MAX);
        let standing = exchange::standing_of_log(node)?;
        let _ = outbox.send(FromSender::Hello(standing).into()).await;
        let mut client = ExchangeClient::new(channel);
        let deliver = client.clone().deliver(ReceiverStream::new(statements)).await;
        let first = match deliver {
            Ok(answers) => {
                let mut inbox = answers.into_inner();
                inbox.message().await.map(|first| (inbox, first))
            }
            Err(status) => Err(status),
        };
        let (inbox, first) = match first {
            Ok(first) => first,
            Err(status) => return Err(refused(&mut client, peer, status).await),
        };
        match FromReceiver::try_from(first.ok_or(SessionError::NoResume)?)? {
            FromReceiver::Resume(resume) => Ok((outbox, inbox, resume)),
            FromReceiver::Receipt(..) => Err(SessionError::NoResume),
        }
    };
    tokio::time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(SessionError::OpenTimeout))
}

/// Why a peer refused to begin: where it speaks no version that this node does, it is asked which.
async fn refused(
    client: &mut ExchangeClient<Channel>,
    peer: &AuthorityId,
    status: Status,
) -> SessionError {
    if !is_for(&status, Reason::UnknownProtocol) {
        return SessionError::Refused(status);
    }
    match client.describe(proto::DescribeRequest {}).await {
        Ok(described) => {
            let theirs = Described::from(described.into_inner()).protocols;
            SessionError::NoCommonProtocol(exchange::no_common_protocol(peer, theirs))
        }
        Err(_) => SessionError::Refused(status),
    }
}

/// What the two directions of a stream share.
struct Flow {
    open: Semaphore,
    /// When each batch that has no receipt yet was sent, oldest first.
    unanswered: Mutex<VecDeque<Instant>>,
}

impl Flow {
    fn unanswered(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another batch may be under way. Its permit is given up when the batch is sent,
    /// and returned with its receipt.
    async fn permit(&self) -> SemaphorePermit<'_> {
        match self.open.acquire().await {
            Ok(permit) => permit,
            Err(_) => std::future::pending().await,
        }
    }

    fn answered(&self) {
        if self.unanswered().pop_front().is_some() {
            self.open.add_permits(1);
        }
    }

    /// Whether a batch has waited for its receipt longer than this.
    fn overdue(&self, limit: Duration) -> bool {
        self.unanswered().front().is_some_and(|sent| sent.elapsed() > limit)
    }
}

struct Sender<'a> {
    node: &'a SharedNode,
    peer: &'a AuthorityId,
    sending: &'a Sending,
    outbox: Outbox,
    flow: &'a Flow,
    changes: broadcast::Receiver<Change>,
    heartbeat: Duration,
}

impl Sender<'_> {
    async fn send(&mut self) -> Result<(), SessionError> {
        let flow = self.flow;
        let mut heartbeat = true;
        loop {
            // The permit comes before the decision, so that nothing is offered that could not leave
            // at once.
            let permit = flow.permit().await;
            self.node.precedence.give_way().await;
            let batch = self.sending.next(self.node, heartbeat).await?;
            let idle = batch.as_ref().is_none_or(|batch| batch.items.is_empty());
            if let Some(batch) = batch {
                permit.forget();
                self.post(batch).await;
                heartbeat = false;
            }
            if idle {
                heartbeat = self.wait_for_work().await?;
            }
        }
    }

    async fn post(&self, batch: Batch) {
        self.flow.unanswered().push_back(Instant::now());
        // A closed outbox means that the call has ended; the other direction knows why.
        if self.outbox.send(FromSender::Batch(batch).into()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for something to do; returns true when a heartbeat is due.
    async fn wait_for_work(&mut self) -> Result<bool, SessionError> {
        let heartbeat = tokio::time::sleep(self.heartbeat);
        tokio::pin!(heartbeat);
        let node = self.node;
        let rule_end = exchange::next_rule_end(node, self.peer).map_err(SendError::from)?;
        loop {
            tokio::select! {
                () = &mut heartbeat => return Ok(true),
                change = self.changes.recv() => match change {
                    Ok(Change::Alert { .. } | Change::Notice | Change::Users) => {}
                    Ok(Change::Feed | Change::Peers | Change::Policy | Change::Reopened)
                    | Err(RecvError::Lagged(_)) => {
                        self.drain_changes();
                        return Ok(false);
                    }
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = until(node, rule_end) => return Ok(false),
            }
        }
    }

    fn drain_changes(&mut self) {
        while !matches!(self.changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
    }
}

/// Longest wait for the end of a rule before looking at the clock again.
const RULE_WAIT_MAX_S: i64 = 3600;

async fn until(node: &SharedNode, end: Option<crate::id::Timestamp>) {
    let Some(end) = end else {
        return std::future::pending().await;
    };
    let mut left = end.since(node.clock.now());
    while left > 0 {
        tokio::time::sleep(Duration::from_secs(left.min(RULE_WAIT_MAX_S) as u64)).await;
        left = end.since(node.clock.now());
    }
}

async fn take_receipts(
    node: &SharedNode,
    sending: &Sending,
    inbox: &mut Streaming<proto::FromReceiver>,
    flow: &Flow,
) -> Result<(), SessionError> {
    let limit = node.config.exchange.receipt_timeout_s.seconds();
    loop {
        let Ok(message) = tokio::time::timeout(RECEIPT_LOOK, inbox.message()).await else {
            if flow.overdue(limit) {
                return Err(SessionError::NoReceipt);
            }
            continue;
        };
        let message = message.map_err(SessionError::Refused)?;
        let message =
            message.ok_or_else(|| SessionError::Refused(Status::ok("no reason given")))?;
        match FromReceiver::try_from(message)? {
            FromReceiver::Receipt(receipt, nonce) => {
                node.precedence.give_way().await;
                sending.take(node, &receipt, nonce).await?;
                flow.answered();
            }
            FromReceiver::Resume(_) => return Err(SessionError::NoResume),
        }
    }
}
