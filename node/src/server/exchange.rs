//! The exchange door's service: peers deliver statements, ask who we are, and fetch back what is
//! theirs.

use std::time::Duration;

use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_server::Exchange;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::gate;
use crate::alert::SCHEMAS;
use crate::exchange::{self, PROTOCOLS, ReceiveError, Reception, RecoveryCursor};
use crate::id::AuthorityId;
use crate::node::SharedNode;
use crate::readiness::{Level, readiness};
use crate::reason::Reason;
use crate::store::StreamsIn;
use crate::wire::exchange::{FromReceiver, FromSender, receive_status};
use crate::wire::refusal::refusal;

/// Most answers waiting to be sent on one stream: one for each batch under way.
const ANSWERS_OPEN_MAX: usize = 8;

/// How long a sender may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The service, one for each connection's calls.
#[derive(Clone)]
pub struct ExchangeService {
    node: SharedNode,
}

impl ExchangeService {
    /// For this node.
    pub fn new(node: SharedNode) -> Self {
        Self { node }
    }
}

type Answers = mpsc::Sender<Result<proto::FromReceiver, Status>>;

#[tonic::async_trait]
impl Exchange for ExchangeService {
    type DeliverStream = ReceiverStream<Result<proto::FromReceiver, Status>>;
    type RecoverStream = ReceiverStream<Result<proto::RecoverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let peer = gate::peer(&request)?;
        let (answers, stream) = mpsc::channel(ANSWERS_OPEN_MAX);
        let (node, sent) = (self.node.clone(), request.into_inner());
        let incoming = Incoming { node, peer, sent, answers: answers.clone() };
        tokio::spawn(async move {
            if let Err(status) = incoming.serve().await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn describe(
        &self,
        request: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        let peer = gate::peer(&request)?;
        self.node.streams.live(&peer).note_contact();
        let held = self.node.store.get::<StreamsIn>(&peer);
        let held = held.map_err(|error| receive_status(&error.into()))?.unwrap_or_default();
        let descriptor = self.node.descriptor.load();
        Ok(Response::new(proto::DescribeResponse {
            authority: self.node.authority.to_string(),
            software: concat!("entente ", env!("CARGO_PKG_VERSION")).to_owned(),
            protocols: (PROTOCOLS.min..=PROTOCOLS.max).collect(),
            schema_min: SCHEMAS.min,
            schema_max: SCHEMAS.max,
            time: self.node.clock.shown().seconds(),
            caller_state: "active".to_owned(),
            caller_epoch: held.epoch,
            caller_seq: held.seq,
            refusing: readiness(&self.node)
                .into_iter()
                .filter(|reason| reason.level == Level::Refusing)
                .map(|reason| reason.reason.to_owned())
                .collect(),
            descriptor: descriptor
                .as_ref()
                .as_ref()
                .map(|d| d.jws().to_owned())
                .unwrap_or_default(),
        }))
    }

    async fn recover(
        &self,
        request: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        let peer = gate::peer(&request)?;
        let (answers, stream) = mpsc::channel(ANSWERS_OPEN_MAX);
        let node = self.node.clone();
        let protocol = request.into_inner().protocol;
        tokio::spawn(async move { hand_back(&node, (&peer, protocol), &answers).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Incoming {
    node: SharedNode,
    peer: AuthorityId,
    sent: Streaming<proto::FromSender>,
    answers: Answers,
}

impl Incoming {
    async fn serve(mut self) -> Result<(), Status> {
        let Some(mut reception) = self.greet().await? else {
            return Ok(());
        };
        loop {
            let message = tokio::select! {
                message = self.sent.message() => message?,
                () = reception.superseded() => {
                    return Err(receive_status(&ReceiveError::Superseded));
                }
            };
            let Some(message) = message else {
                return Ok(());
            };
            let FromSender::Batch(batch) = FromSender::try_from(message)? else {
                let message = "a hello stands only at the beginning of a stream";
                return Err(refusal(Code::InvalidArgument, Reason::HelloRepeated, message));
            };
            let received = reception.receive(&self.node, batch).await;
            let (receipt, nonce) = received.map_err(|error| {
                tracing::warn!(peer = %self.peer, "a batch was refused: {error}");
                receive_status(&error)
            })?;
            if self.answers.send(Ok(FromReceiver::Receipt(receipt, nonce).into())).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn greet(&mut self) -> Result<Option<Reception>, Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, self.sent.message()).await;
        let late = |_| {
            refusal(Code::DeadlineExceeded, Reason::NoHello, "the stream began without a hello")
        };
        let Some(first) = first.map_err(late)?? else {
            return Ok(None);
        };
        let FromSender::Hello(standing) = FromSender::try_from(first)? else {
            let message = "a stream begins with a hello";
            return Err(refusal(Code::InvalidArgument, Reason::NoHello, message));
        };
        let greeted = exchange::hello(&self.node, &self.peer, &standing).await;
        let (reception, resume) = greeted.map_err(|error| {
            tracing::warn!(peer = %self.peer, "a stream was refused: {error}");
            receive_status(&error)
        })?;
        let _ = self.answers.send(Ok(FromReceiver::Resume(resume).into())).await;
        Ok(Some(reception))
    }
}

async fn hand_back(
    node: &SharedNode,
    (peer, protocol): (&AuthorityId, u32),
    answers: &mpsc::Sender<Result<proto::RecoverResponse, Status>>,
) {
    let mut after = RecoveryCursor::Alerts(None);
    loop {
        let page = exchange::statements_of(node, peer, &after, protocol);
        let (statements, next) = match page {
            Ok(page) => page,
            Err(error) => {
                let _ = answers.send(Err(receive_status(&error.into()))).await;
                return;
            }
        };
        for statement in statements {
            if answers.send(Ok(proto::RecoverResponse { statement })).await.is_err() {
                return;
            }
        }
        let Some(next) = next else { return };
        after = next;
        tokio::task::yield_now().await;
    }
}
