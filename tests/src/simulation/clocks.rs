//! Clocks that are a little off, and clocks that leap by weeks and come back: at running nodes and
//! across a start.

use std::time::Duration;

use anyhow::ensure;
use entente_node::desk;
use entente_node::reason::Reason;

use super::{DAY_S, Shape, World};
use crate::federation::TestNode;

/// How far a running clock leaps either way, in seconds: what a check for months lets pass.
const LEAP_S: i64 = 29 * DAY_S;

/// How far behind a clock is at a start, in seconds: no node starts before its certificate, which
/// is valid from the day before it was made.
const BEHIND_S: i64 = 20 * 3600;

/// How long one that leapt stays so: its node looks at it meanwhile.
const OFF: Duration = Duration::from_millis(30);

impl World {
    /// Two clocks are never further apart than the tolerance of 300 s.
    pub(super) fn jump(&mut self, at: usize, seconds: i64) -> anyhow::Result<()> {
        self.federation.nodes[at].clock.shift(seconds);
        self.count("clock jumps");
        Ok(())
    }

    /// A clock that is weeks off for a moment, in which what has ended by it is looked for: it
    /// erases and ends nothing.
    pub(super) async fn leap(&mut self, at: usize, ahead: bool) -> anyhow::Result<()> {
        let leap = if ahead { LEAP_S } else { -LEAP_S };
        self.federation.nodes[at].clock.shift(leap);
        self.erases_nothing(at, leap).await?;
        self.comes_back(at).await?;
        self.count("clock leaps");
        Ok(())
    }

    /// A node that starts with a clock that is weeks off; it is set right while the node runs, or
    /// before another start.
    pub(super) async fn leap_across_a_start(
        &mut self,
        at: usize,
        ahead: bool,
        restart: bool,
        draft: Shape,
    ) -> anyhow::Result<()> {
        let leap = if ahead { LEAP_S } else { -BEHIND_S };
        self.federation.nodes[at].stop().await?;
        self.federation.nodes[at].clock.shift(leap);
        self.federation.nodes[at].start().await?;
        self.erases_nothing(at, leap).await?;
        self.refused_in_doubt(at, draft).await?;
        if restart {
            self.federation.nodes[at].stop().await?;
            self.federation.nodes[at].clock.shift(0);
            self.federation.nodes[at].start().await?;
        }
        self.comes_back(at).await?;
        self.count("clock leaps across a start");
        Ok(())
    }

    async fn erases_nothing(&self, at: usize, leap: i64) -> anyhow::Result<()> {
        self.federation.nodes.iter().for_each(TestNode::wake);
        let node = &self.federation.nodes[at];
        let expired = desk::expire(node.node()).await;
        ensure!(expired.is_err(), "{}: {leap} s off, and {expired:?} expired", node.authority);
        tokio::time::sleep(OFF).await;
        Ok(())
    }

    /// Nothing is signed with a date that nobody believes.
    async fn refused_in_doubt(&mut self, at: usize, draft: Shape) -> anyhow::Result<()> {
        let (draft, node) = (self.draft(draft).to_string(), self.federation.nodes[at].node());
        let created = desk::create(node, &draft, "seen both", &self.officer).await;
        let refused = created.err().map(|error| error.reason());
        ensure!(refused == Some(Reason::ClockInDoubt), "in doubt a create says {refused:?}");
        Ok(())
    }

    async fn comes_back(&self, at: usize) -> anyhow::Result<()> {
        let node = &self.federation.nodes[at];
        node.clock.shift(0);
        let expired = desk::expire(node.node()).await?;
        ensure!(expired == 0, "{}: {expired} expired before their time", node.authority);
        Ok(())
    }
}
