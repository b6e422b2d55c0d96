//! A stream between two test nodes, one step at a time.

use super::TestNode;
use crate::alert::SCHEMA;
use crate::exchange::{self, Batch, Nonce, ReceiveError, Reception, SendError, Sending};
use crate::id::Versions;

/// Before what a stream is cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// After the offer was durable.
    Sending,
    /// The receiver got the batch and died.
    Commit,
    /// The receiver committed, and its receipt was lost.
    Receipt,
}

/// The sender and the receiver as they are, without the channel between.
pub(super) struct Link<'a> {
    from: &'a TestNode,
    to: &'a TestNode,
    sending: Sending,
    reception: Reception,
}

impl<'a> Link<'a> {
    pub(super) async fn open(from: &'a TestNode, to: &'a TestNode) -> Self {
        Self::try_open(from, to).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) async fn try_open(from: &'a TestNode, to: &'a TestNode) -> Result<Self, SendError> {
        Self::try_open_reading(from, to, SCHEMA).await
    }

    /// With a receiver that reads alert schemas up to `schema_max`.
    pub(super) async fn try_open_reading(
        from: &'a TestNode,
        to: &'a TestNode,
        schema_max: u32,
    ) -> Result<Self, SendError> {
        let (sender, receiver) = (&from.node.authority, &to.node.authority);
        let standing = exchange::standing_of_log(&from.node)?;
        let (reception, mut theirs) = exchange::hello(&to.node, sender, &standing).await.unwrap();
        theirs.schemas.max = schema_max;
        let sending = Sending::resume(&from.node, receiver, &theirs).await?;
        Ok(Self { from, to, sending, reception })
    }

    /// Why no stream is opened.
    pub(super) async fn refused(from: &TestNode, to: &TestNode) -> SendError {
        match Link::try_open(from, to).await {
            Ok(_) => panic!("a stream was opened"),
            Err(error) => error,
        }
    }

    /// From a sender that speaks one version of the protocol only.
    pub(super) async fn open_speaking(from: &'a TestNode, to: &'a TestNode, protocol: u32) -> Self {
        let (sender, receiver) = (&from.node.authority, &to.node.authority);
        let mut standing = exchange::standing_of_log(&from.node).unwrap();
        standing.protocols = Versions::new(protocol, protocol);
        let (reception, theirs) = exchange::hello(&to.node, sender, &standing).await.unwrap();
        let sending = Sending::resume(&from.node, receiver, &theirs).await.unwrap();
        Self { from, to, sending, reception }
    }

    /// Sends until there is nothing more.
    pub(super) async fn run(mut self) {
        loop {
            let batch = self.offer().await;
            let idle = batch.items.is_empty();
            let (receipt, nonce) = self.give(batch).await.unwrap();
            self.take(&receipt, nonce).await.unwrap();
            if idle {
                return;
            }
        }
    }

    /// Offers once and loses the connection.
    pub(super) async fn cut(mut self, cut: Cut) {
        let batch = self.offer().await;
        assert!(!batch.items.is_empty(), "there was something to lose");
        if let Cut::Receipt = cut {
            self.give(batch).await.unwrap();
        }
    }

    pub(super) fn sending(&self) -> &Sending {
        &self.sending
    }

    /// What is next, or a heartbeat.
    pub(super) async fn offer(&mut self) -> Batch {
        self.sending.next(&self.from.node, true).await.unwrap().expect("a heartbeat at least")
    }

    /// Gives a batch to the receiver; returns its receipt.
    pub(super) async fn give(&mut self, batch: Batch) -> Result<(String, Nonce), ReceiveError> {
        self.reception.receive(&self.to.node, batch).await
    }

    /// Gives a receipt to the sender.
    pub(super) async fn take(&self, receipt: &str, nonce: Nonce) -> Result<(), SendError> {
        self.sending.take(&self.from.node, receipt, nonce).await
    }
}
