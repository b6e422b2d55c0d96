//! A stream between two test nodes, one step at a time.

use super::TestNode;
use crate::alert::SCHEMA;
use crate::exchange::{
    self, Batch, Dispatcher, HEAD_TYP, Head, Item, Nonce, Place, ReceiveError, Reception,
    ResumeError, Resumed,
};
use crate::jose;

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

pub(super) struct Link<'a> {
    from: &'a TestNode,
    to: &'a TestNode,
    reception: Reception,
    nonce: Nonce,
    place: Place,
    again: Vec<Item>,
    dispatcher: Dispatcher,
}

impl<'a> Link<'a> {
    pub(super) async fn open(from: &'a TestNode, to: &'a TestNode) -> Self {
        Self::try_open(from, to).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) async fn try_open(
        from: &'a TestNode,
        to: &'a TestNode,
    ) -> Result<Self, ResumeError> {
        Self::try_open_reading(from, to, SCHEMA).await
    }

    /// With a receiver that reads alert schemas up to `schema_max`.
    pub(super) async fn try_open_reading(
        from: &'a TestNode,
        to: &'a TestNode,
        schema_max: u32,
    ) -> Result<Self, ResumeError> {
        let (sender, receiver) = (&from.node.authority, &to.node.authority);
        let standing = exchange::standing_of_log(&from.node).unwrap();
        let (reception, mut theirs) = exchange::hello(&to.node, sender, &standing).await.unwrap();
        theirs.schema_max = schema_max;
        let nonce = theirs.nonce;
        let dispatcher = Dispatcher::new(receiver.clone(), theirs.schema_max);
        let Resumed { place, items } = exchange::resume(&from.node, receiver, &theirs).await?;
        Ok(Self { from, to, reception, nonce, place, again: items, dispatcher })
    }

    /// Sends until there is nothing more.
    pub(super) async fn run(mut self) {
        for items in exchange::batches(std::mem::take(&mut self.again)) {
            self.exchange(items, false, false).await;
        }
        loop {
            let offering = self.dispatcher.offer_next(&self.from.node).await.unwrap();
            let idle = offering.items.is_empty();
            let complete = !offering.stream.snapshot;
            self.exchange(offering.items, offering.caught_up, complete).await;
            if idle {
                return;
            }
        }
    }

    /// Offers once and loses the connection.
    pub(super) async fn cut(mut self, cut: Cut) {
        let offering = self.dispatcher.offer_next(&self.from.node).await.unwrap();
        assert!(!offering.items.is_empty(), "there was something to lose");
        let batch = self.batch(offering.items, offering.caught_up, !offering.stream.snapshot);
        if let Cut::Receipt = cut {
            self.reception.receive(&self.to.node, batch).await.unwrap();
        }
    }

    /// Offers what is next.
    pub(super) async fn offer(&mut self) -> Batch {
        let offering = self.dispatcher.offer_next(&self.from.node).await.unwrap();
        self.batch(offering.items, offering.caught_up, !offering.stream.snapshot)
    }

    /// Gives a batch to the receiver; returns its receipt.
    pub(super) async fn give(&mut self, batch: Batch) -> Result<String, ReceiveError> {
        let (receipt, nonce) = self.reception.receive(&self.to.node, batch).await?;
        self.nonce = nonce;
        Ok(receipt)
    }

    /// Offers what is next, and keeps the receipt from the sender.
    pub(super) async fn receipt(&mut self) -> String {
        let batch = self.offer().await;
        self.give(batch).await.unwrap()
    }

    async fn exchange(&mut self, items: Vec<Item>, caught_up: bool, complete: bool) {
        let batch = self.batch(items, caught_up, complete);
        let receipt = self.give(batch).await.unwrap();
        let receiver = &self.to.node.authority;
        exchange::acknowledge(&self.from.node, receiver, &receipt).await.unwrap();
    }

    fn batch(&mut self, items: Vec<Item>, caught_up: bool, snapshot_complete: bool) -> Batch {
        self.place = self.place.after(&items);
        let log = self.from.node.store.log();
        let head = Head {
            iss: self.from.node.authority.clone(),
            aud: self.to.node.authority.clone(),
            epoch: self.place.epoch,
            seq: self.place.seq,
            chain: self.place.chain,
            iat: self.from.node.clock.told().seconds(),
            nonce: self.nonce,
            caught_up,
            snapshot_complete,
            log_size: log.size(),
            log_root: log.root(),
        };
        let head = jose::sign(HEAD_TYP, &head, &self.from.node.statement_key);
        Batch { items, head, acknowledged: self.from.stream(self.to).acked }
    }
}
