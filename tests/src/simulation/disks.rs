//! A disk that is full to the last byte, and gets room again: alerts are still withdrawn, what was
//! refused or failed is not there, and the node goes on by itself.

use std::time::Duration;

use anyhow::{Context, ensure};
use entente_node::desk::{self, DeskError};
use entente_node::reason::Reason;
use entente_node::store::{Own, StoreError, Tombstones};

use super::{Fill, Shape, World};
use crate::disk::LOOKED_AT_EVERY;
use crate::federation::PATIENCE;

impl World {
    pub(super) async fn fill(&mut self, at: usize, fill: &Fill) -> anyhow::Result<()> {
        if self.federation.nodes[at].disk.is_none() {
            return Ok(());
        }
        self.fill_disk(at)?;
        if fill.known {
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            self.refused_without_room(at, fill.draft).await?;
        }
        self.withdraw_without_room(at, fill.alert, fill.known).await?;
        for number in 1..=fill.again {
            self.create_without_room(at, fill.draft.next(number)).await?;
            self.fill_disk(at)?;
            self.withdraw_without_room(at, fill.alert + number, false).await?;
        }
        if fill.restart {
            self.restart(at).await.context("a start without room")?;
        }
        self.federation.nodes[at].disk.as_ref().context("a disk")?.empty()?;
        self.goes_on(at, fill.draft).await?;
        self.count("full disks");
        Ok(())
    }

    fn fill_disk(&self, at: usize) -> anyhow::Result<()> {
        Ok(self.federation.nodes[at].disk.as_ref().context("a disk")?.fill()?)
    }

    async fn refused_without_room(&mut self, at: usize, draft: Shape) -> anyhow::Result<()> {
        let (draft, node) = (self.draft(draft).to_string(), self.federation.nodes[at].node());
        let created = desk::create(node, &draft, "seen both", &self.officer).await;
        if created.as_ref().is_err_and(super::is_conflict) {
            return Ok(());
        }
        let refused = created.err().map(|error| error.reason());
        ensure!(refused == Some(Reason::DiskFull), "without room a create says {refused:?}");
        Ok(())
    }

    /// It is taken for good, or refused; either is true afterwards.
    async fn create_without_room(&mut self, at: usize, draft: Shape) -> anyhow::Result<()> {
        let (draft, node) = (self.draft(draft).to_string(), self.federation.nodes[at].node());
        match desk::create(node, &draft, "seen both", &self.officer).await {
            Ok(created) => self.acknowledge(created.id)?,
            Err(error) if super::is_conflict(&error) => self.count("conflicts"),
            Err(DeskError::Store(_)) => self.count("creates without room"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Of what was kept back there is enough, unless it was eaten up too.
    async fn withdraw_without_room(
        &mut self,
        at: usize,
        alert: usize,
        must: bool,
    ) -> anyhow::Result<()> {
        let Some((id, _)) = self.live(alert, Some(at)) else { return Ok(()) };
        let version = self.acknowledged.get(&id).copied().flatten();
        let here = &self.federation.nodes[at];
        match desk::withdraw(here.node(), &id, "found", &self.officer).await {
            Ok(_) => {
                self.acknowledged.insert(id, None);
                self.count("withdrawn without room");
            }
            Err(DeskError::Store(error)) if !must => {
                let held = here.node().store.get::<Own>(&id);
                let shown = held.map(|own| own.map(|own| own.version));
                let unseen = shown == Ok(version) || shown.is_err();
                ensure!(unseen, "{id} failed with {error}, and {shown:?} is shown");
                let gone = here.node().store.get::<Tombstones>(&id);
                ensure!(!matches!(gone, Ok(Some(_))), "{id} failed with {error}, and is gone");
                self.count("writes failed");
            }
            Err(error) => return Err(error).context("a withdrawal without room"),
        }
        Ok(())
    }

    /// Nobody restarts anything.
    async fn goes_on(&mut self, at: usize, draft: Shape) -> anyhow::Result<()> {
        let trying = async {
            for number in 0.. {
                let draft = self.draft(draft.next(number)).to_string();
                let node = self.federation.nodes[at].node();
                match desk::create(node, &draft, "seen both", &self.officer).await {
                    Ok(created) => return Ok(created.id),
                    Err(error) if super::is_conflict(&error) => {}
                    Err(DeskError::Store(StoreError::Corrupt(what))) => anyhow::bail!(what),
                    Err(DeskError::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(error) => return Err(error.into()),
                }
            }
            anyhow::bail!("no draft was taken")
        };
        let tried = tokio::time::timeout(PATIENCE, trying).await;
        let id = tried.context("there is room again, and the node does not go on")??;
        self.acknowledge(id)
    }
}
