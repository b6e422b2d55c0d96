//! The messages of the exchange door.

use entente_proto::exchange as proto;
use tonic::{Code, Status};

use super::refusal::{Malformed, refusal};
use crate::admin::Described;
use crate::exchange::{
    Batch, Item, Kind, Nonce, PROTOCOLS, ReceiveError, Resume, Standing, Statement,
};
use crate::id::{Digest, Versions};
use crate::reason::Reason;
use crate::store::StoreError;

/// What a receiver speaks that does not say so.
const FIRST_PROTOCOL: u32 = 1;

/// What a sender may send.
pub enum FromSender {
    /// First: which versions it speaks, and what it says of its log.
    Hello(Standing),
    /// Then.
    Batch(Batch),
}

/// What a receiver may answer.
pub enum FromReceiver {
    /// First.
    Resume(Resume),
    /// Then: the receipt, as signed, and the next nonce.
    Receipt(String, Nonce),
}

impl TryFrom<proto::FromSender> for FromSender {
    type Error = Malformed;

    fn try_from(message: proto::FromSender) -> Result<Self, Malformed> {
        use proto::from_sender::Message;
        match message.message {
            Some(Message::Hello(hello)) => Ok(Self::Hello(Standing {
                protocols: Versions::said(hello.protocol, hello.protocol_max),
                schemas: Versions::said(hello.schema_min, hello.schema_max),
                checkpoint: hello.checkpoint,
                restores: hello.restores,
                stopped: hello.stopped,
            })),
            Some(Message::Batch(batch)) => Ok(Self::Batch(batch.try_into()?)),
            None => Err(Malformed("message")),
        }
    }
}

impl From<FromSender> for proto::FromSender {
    fn from(message: FromSender) -> Self {
        use proto::from_sender::Message;
        let message = match message {
            FromSender::Hello(standing) => Message::Hello(proto::Hello {
                protocol: standing.protocols.min,
                protocol_max: standing.protocols.max,
                schema_min: standing.schemas.min,
                schema_max: standing.schemas.max,
                checkpoint: standing.checkpoint,
                restores: standing.restores,
                stopped: standing.stopped,
            }),
            FromSender::Batch(batch) => Message::Batch(proto::Batch {
                items: batch.items.into_iter().map(Into::into).collect(),
                head: batch.head,
                acknowledged: batch.acknowledged,
            }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<proto::Batch> for Batch {
    type Error = Malformed;

    fn try_from(batch: proto::Batch) -> Result<Self, Malformed> {
        let items = batch.items.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { items, head: batch.head, acknowledged: batch.acknowledged })
    }
}

impl TryFrom<proto::Item> for Item {
    type Error = Malformed;

    fn try_from(item: proto::Item) -> Result<Self, Malformed> {
        use proto::item::Statement as Sent;
        let (kind, text) = match item.statement.ok_or(Malformed("statement"))? {
            Sent::Alert(text) => (Kind::Alert, text),
            Sent::Withdrawal(text) => (Kind::Withdrawal, text),
            Sent::Retraction(text) => (Kind::Retraction, text),
            Sent::Notice(text) => (Kind::Notice, text),
            Sent::NoticeAcknowledgement(text) => (Kind::Acknowledgement, text),
        };
        let statement = Statement::new(kind, text);
        Ok(Self { seq: item.seq, digest: digest(&item.digest, "digest")?, statement })
    }
}

impl From<Item> for proto::Item {
    fn from(item: Item) -> Self {
        use proto::item::Statement as Sent;
        let Statement { kind, text } = item.statement;
        let statement = match kind {
            Kind::Alert => Sent::Alert(text),
            Kind::Withdrawal => Sent::Withdrawal(text),
            Kind::Retraction => Sent::Retraction(text),
            Kind::Notice => Sent::Notice(text),
            Kind::Acknowledgement => Sent::NoticeAcknowledgement(text),
        };
        Self { seq: item.seq, digest: item.digest.0.to_vec(), statement: Some(statement) }
    }
}

impl TryFrom<proto::FromReceiver> for FromReceiver {
    type Error = Malformed;

    fn try_from(message: proto::FromReceiver) -> Result<Self, Malformed> {
        use proto::from_receiver::Message;
        match message.message {
            Some(Message::Resume(resume)) => Ok(Self::Resume(resume.try_into()?)),
            Some(Message::Receipt(receipt)) => {
                Ok(Self::Receipt(receipt.receipt, nonce(&receipt.nonce)?))
            }
            None => Err(Malformed("message")),
        }
    }
}

impl From<FromReceiver> for proto::FromReceiver {
    fn from(message: FromReceiver) -> Self {
        use proto::from_receiver::Message;
        let message = match message {
            FromReceiver::Resume(resume) => Message::Resume(resume.into()),
            FromReceiver::Receipt(receipt, nonce) => {
                Message::Receipt(proto::Receipt { receipt, nonce: nonce.0.to_vec() })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<proto::Resume> for Resume {
    type Error = Malformed;

    fn try_from(resume: proto::Resume) -> Result<Self, Malformed> {
        let chain =
            if resume.chain.is_empty() { None } else { Some(digest(&resume.chain, "chain")?) };
        let protocol = Versions::said(FIRST_PROTOCOL, resume.protocol).max;
        // What it chose was not offered to it.
        if !PROTOCOLS.contains(protocol) {
            return Err(Malformed("protocol"));
        }
        Ok(Self {
            epoch: resume.epoch,
            seq: resume.seq,
            chain,
            head: resume.head,
            nonce: nonce(&resume.nonce)?,
            protocol,
            schemas: Versions::new(resume.schema_min, resume.schema_max),
            log: resume.log,
            other_log: resume.other_log,
            stopped: resume.stopped,
        })
    }
}

impl From<Resume> for proto::Resume {
    fn from(resume: Resume) -> Self {
        Self {
            epoch: resume.epoch,
            seq: resume.seq,
            chain: resume.chain.map(|chain| chain.0.to_vec()).unwrap_or_default(),
            head: resume.head,
            nonce: resume.nonce.0.to_vec(),
            protocol: resume.protocol,
            schema_min: resume.schemas.min,
            schema_max: resume.schemas.max,
            log: resume.log,
            other_log: resume.other_log,
            stopped: resume.stopped,
        }
    }
}

impl From<proto::DescribeResponse> for Described {
    fn from(said: proto::DescribeResponse) -> Self {
        Self {
            software: said.software,
            protocols: Versions::new(
                said.protocols.iter().min().copied().unwrap_or_default(),
                said.protocols.iter().max().copied().unwrap_or_default(),
            ),
            schemas: Versions::new(said.schema_min, said.schema_max),
            refusing: said.refusing,
            time: said.time,
            caller_state: said.caller_state,
            caller_epoch: said.caller_epoch,
            caller_seq: said.caller_seq,
        }
    }
}

fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, Malformed> {
    bytes.try_into().map(Digest).map_err(|_| Malformed(field))
}

fn nonce(bytes: &[u8]) -> Result<Nonce, Malformed> {
    bytes.try_into().map(Nonce).map_err(|_| Malformed("nonce"))
}

/// What the sender of a refused batch is told.
pub fn receive_status(error: &ReceiveError) -> Status {
    let (code, reason) = match error {
        ReceiveError::NotActive => (Code::PermissionDenied, Reason::NotActive),
        ReceiveError::NoCommonProtocol(_) => (Code::FailedPrecondition, Reason::UnknownProtocol),
        ReceiveError::LostState => (Code::FailedPrecondition, Reason::LostState),
        ReceiveError::Superseded => (Code::Aborted, Reason::Superseded),
        ReceiveError::Head(_) => (Code::InvalidArgument, Reason::HeadInvalid),
        ReceiveError::Misdirected => (Code::InvalidArgument, Reason::HeadMisdirected),
        ReceiveError::TooLarge => (Code::InvalidArgument, Reason::BatchTooLarge),
        ReceiveError::OutOfOrder(_) => (Code::InvalidArgument, Reason::OutOfOrder),
        ReceiveError::Chain => (Code::InvalidArgument, Reason::ChainDiffers),
        ReceiveError::TooManyRefused => (Code::ResourceExhausted, Reason::TooManyRefused),
        ReceiveError::Panicked(_) | ReceiveError::Store(StoreError::Panicked(_)) => {
            (Code::Internal, Reason::NodeFault)
        }
        ReceiveError::Sign(_) => (Code::Unavailable, Reason::SigningFailed),
        ReceiveError::Store(_) => {
            let message = "the store of this node does not answer; try again later";
            return refusal(Code::Unavailable, Reason::StoreUnavailable, message);
        }
    };
    refusal(code, reason, &error.to_string())
}
