//! Notices between desks: what a node acknowledged to its officer arrives once, at the one peer
//! that it is for, and the word that it was read comes back once.

use anyhow::{Context, ensure};
use entente_node::desk::{self, NoticeState, Outgoing};
use entente_node::id::NoticeId;

use super::World;
use crate::federation::until;

/// A notice that its own node acknowledged.
pub(super) struct Sent {
    id: NoticeId,
    from: usize,
    to: usize,
    text: String,
    /// The other desk said that it was read.
    read: bool,
    /// One of the two ends was restored since: it may have forgotten.
    restored: bool,
}

impl World {
    pub(super) async fn send_notice(&mut self, from: usize, to: usize) -> anyhow::Result<()> {
        let text = format!("MARKn{:06}: please call.", self.notices.len());
        let peer = self.federation.nodes[to].authority.clone();
        let outgoing = Outgoing { to: &peer, text: &text, about: None, key: "" };
        let node = self.federation.nodes[from].node();
        let (id, is_new) = desk::send_notice(node, outgoing, &self.officer).await?;
        ensure!(is_new && self.notices.iter().all(|sent| sent.id != id), "{id} was given twice");
        self.notices.push(Sent { id, from, to, text, read: false, restored: false });
        self.count("notices sent");
        Ok(())
    }

    /// One that has arrived, and that nobody has acknowledged.
    pub(super) async fn acknowledge_notice(&mut self, notice: usize) -> anyhow::Result<()> {
        let nodes = &self.federation.nodes;
        let arrived = |sent: &&mut Sent| {
            !sent.read && desk::listed_notice(nodes[sent.to].node(), &sent.id).is_ok()
        };
        let mut open: Vec<_> = self.notices.iter_mut().filter(arrived).collect();
        let count = open.len().max(1);
        let Some(sent) = open.get_mut(notice % count) else { return Ok(()) };
        let node = nodes[sent.to].node();
        let said = desk::acknowledge_notice(node, &sent.id, "night desk", &self.officer).await;
        match said {
            Ok(is_new) => ensure!(is_new, "{} was acknowledged before", sent.id),
            // The word comes back to a restored node from its peer.
            Err(error) => ensure!(sent.restored, "{}: {error}", sent.id),
        }
        sent.read = true;
        self.count("notices read");
        Ok(())
    }

    pub(super) fn forget_notices(&mut self, at: usize) {
        let ends = self.notices.iter_mut().filter(|sent| sent.from == at || sent.to == at);
        ends.for_each(|sent| sent.restored = true);
    }

    pub(super) async fn check_notices(&self) -> anyhow::Result<()> {
        for sent in &self.notices {
            self.check_notice(sent).await.with_context(|| sent.id.to_string())?;
        }
        Ok(())
    }

    async fn check_notice(&self, sent: &Sent) -> anyhow::Result<()> {
        let nodes = &self.federation.nodes;
        for (place, node) in nodes.iter().enumerate() {
            let third = place != sent.from && place != sent.to;
            let holds = desk::listed_notice(node.node(), &sent.id).is_ok();
            ensure!(!(third && holds), "{} holds it", node.authority);
        }
        let (here, there) = (nodes[sent.from].node(), nodes[sent.to].node());
        if !sent.restored {
            until("a notice", || Ok(desk::listed_notice(there, &sent.id).ok())).await?;
            let state = if sent.read { NoticeState::Acknowledged } else { NoticeState::Open };
            until("what became of a notice", || {
                let listed = desk::listed_notice(here, &sent.id)?;
                Ok((listed.state == state).then_some(()))
            })
            .await?;
        }
        if desk::listed_notice(there, &sent.id).is_ok() {
            let opened = desk::get_notice(there, &sent.id, &self.officer).await?;
            ensure!(opened.notice.text == sent.text, "its text is another one");
            ensure!(sent.restored || opened.acknowledgement.is_some() == sent.read);
        }
        Ok(())
    }
}
