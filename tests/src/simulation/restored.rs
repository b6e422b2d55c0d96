//! A node that gets an old store after it narrowed what others see and who comes in: before two
//! persons confirmed what they were shown, nothing of that is undone, and what they are shown is
//! true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use entente_node::admin::{self, Counts, Review};
use entente_node::alert::ClaimSet;
use entente_node::exchange;
use entente_node::holding::read_own;
use entente_node::id::{AlertId, AuthorityId, PolicyVersion, Version};
use entente_node::policy::Sharing;
use entente_node::roles::Role;
use entente_node::store::{Copies, Erased, Own, Read, Scan, Tombstones, UserState};
use entente_node::trust::PeerState;
use entente_proto::desk::WhoamiRequest;
use entente_proto::desk::desk_client::DeskClient;
use tonic_types::StatusExt;

use super::{Narrowing, World};
use crate::federation::{TestNode, person, until};

const NOTHING: &str = "";
const OFFICER: &str = "officer";

/// More records than any simulation makes.
const ALL_RECORDS: usize = 100_000;

/// Two heartbeats and some: whatever a peer is told without a statement has arrived.
const HEARD: Duration = Duration::from_millis(2600);

/// Long enough for a peer to get what it must not get, over loopback.
const TEMPTED: Duration = Duration::from_millis(200);

/// A new epoch has the number of its second: people take longer than that between two restores.
const BETWEEN_RESTORES: Duration = Duration::from_millis(1100);

/// A copy of a store, and what was in force in it.
pub(super) struct Backup {
    store: PathBuf,
    policy: PolicyVersion,
    officer: bool,
}

/// What each peer holds of one node's alerts.
type Held = BTreeMap<AuthorityId, BTreeMap<AlertId, ClaimSet>>;

impl Backup {
    fn of(node: &TestNode, store: PathBuf) -> anyhow::Result<Self> {
        let (policy, officer) = (node.node().policy.load().0, is_officer(node)?);
        Ok(Self { store, policy, officer })
    }
}

impl World {
    pub(super) async fn back_up(&mut self, at: usize) -> anyhow::Result<()> {
        let to = self.federation.folder().join(format!("backup-{at}"));
        let backup = Backup::of(&self.federation.nodes[at], to)?;
        self.federation.nodes[at].copy_store(&backup.store, false).await?;
        self.backups[at] = Some(backup);
        self.count("backups");
        Ok(())
    }

    /// Narrows, restores an old store; then its people do what docs/operating.md tells them to.
    pub(super) async fn restore(
        &mut self,
        at: usize,
        now: bool,
        narrowing: &Narrowing,
        again: bool,
    ) -> anyhow::Result<()> {
        self.calm().await?;
        // Nothing is issued after a backup that is made now: all that is forgotten is what is
        // narrowed.
        if now {
            self.back_up(at).await?;
            self.calm().await?;
        }
        let Some(backup) = self.backups[at].take() else { return Ok(()) };
        tokio::time::sleep(BETWEEN_RESTORES).await;
        self.narrow(at, narrowing).await?;
        self.heard(at, narrowing).await?;
        let (before, known) = (self.held_of(at)?, self.known_elsewhere(at)?);
        self.federation.nodes[at].copy_store(&backup.store, true).await?;
        self.stands_still(at, &backup, &before)
            .await
            .with_context(|| format!("after {narrowing:?}"))?;
        self.recovered(at, &known).await?;
        self.forget_what_only_it_held(at)?;
        self.forget_notices(at);
        self.confirm(at, &backup, narrowing, again, &before)
            .await
            .with_context(|| format!("after {narrowing:?}"))?;
        self.backups[at] = Some(backup);
        self.count("restores");
        Ok(())
    }

    async fn narrow(&self, at: usize, narrowing: &Narrowing) -> anyhow::Result<()> {
        let (node, one) = (&self.federation.nodes[at], person(Role::Administrator));
        if narrowing.policy {
            node.apply(NOTHING).await?;
        }
        if let Some(peer) = narrowing.peer {
            let (peer, to) = (&self.federation.nodes[peer].authority, PeerState::Suspended);
            admin::change_peer(node.node(), peer, to, "incident", &one).await?;
        }
        if narrowing.officer && is_officer(node)? {
            admin::remove_user(node.node(), OFFICER, &one).await?;
        }
        Ok(())
    }

    /// Waits until peers were told of what was narrowed.
    async fn heard(&self, at: usize, narrowing: &Narrowing) -> anyhow::Result<()> {
        self.federation.nodes.iter().for_each(TestNode::wake);
        if narrowing.peer.is_none() {
            self.federation.settle().await?;
        }
        tokio::time::sleep(HEARD).await;
        ensure!(!exchange::lost_state(self.federation.nodes[at].node())?, "stopped too early");
        Ok(())
    }

    fn held_of(&self, at: usize) -> anyhow::Result<Held> {
        let me = &self.federation.nodes[at].authority;
        let peers = self.federation.nodes.iter().filter(|node| node.authority != *me);
        let held = peers.map(|peer| {
            let copies = peer.node().store.scan(Scan::<Copies>::all(), ALL_RECORDS)?;
            let ours = copies.into_iter().filter(|(id, _)| id.authority() == me);
            let ours = ours.map(|(id, copy)| (id, copy.claims)).collect();
            anyhow::Ok((peer.authority.clone(), ours))
        });
        held.collect()
    }

    /// The node finds out by itself, and until people confirmed what is in force, nobody gets or
    /// comes in.
    async fn stands_still(&self, at: usize, backup: &Backup, before: &Held) -> anyhow::Result<()> {
        let restored = &self.federation.nodes[at];
        self.federation.nodes.iter().for_each(TestNode::wake);
        let stop = until("the stop of a restored node", || {
            Ok(exchange::lost_state(restored.node())?.then_some(()))
        });
        let stopped = stop.await;
        self.nothing_widened(at, before)?;
        stopped?;
        tokio::time::sleep(TEMPTED).await;
        self.nothing_widened(at, before)?;
        let refused = whoami(restored, OFFICER).await?;
        // One who is known in the backup would come in, but for the stop.
        let expected = if backup.officer { "lost_state" } else { "unknown_user" };
        ensure!(refused.as_deref() == Some(expected), "the officer came in: {refused:?}");
        Ok(())
    }

    /// No peer holds an alert or a claim that it had not.
    fn nothing_widened(&self, at: usize, before: &Held) -> anyhow::Result<()> {
        for (peer, held) in self.held_of(at)? {
            for (id, claims) in held {
                let known = before.get(&peer).and_then(|before| before.get(&id)).copied();
                ensure!(
                    claims.is_subset(known.unwrap_or(ClaimSet::EMPTY)) && known.is_some(),
                    "{peer} got {id} again, which nobody confirmed: {known:?}, now {claims:?}"
                );
            }
        }
        Ok(())
    }

    /// What peers hold comes back, all of it.
    async fn recovered(&self, at: usize, known: &[(AlertId, Version)]) -> anyhow::Result<()> {
        let restored = self.federation.nodes[at].node();
        let recovered = entente_node::outbound::recover(restored).await;
        ensure!(recovered.failed.is_empty(), "{:?}", recovered.failed);
        for (id, version) in known {
            let held = restored.store.get::<Own>(id)?.map(|own| own.version);
            let gone = restored.store.get::<Tombstones>(id)?.is_some();
            ensure!(gone || held >= Some(*version), "{id}: version {version} was not recovered");
        }
        Ok(())
    }

    /// Two people look at what would be in force; at times they narrow again first.
    async fn confirm(
        &mut self,
        at: usize,
        backup: &Backup,
        narrowing: &Narrowing,
        narrows: bool,
        before: &Held,
    ) -> anyhow::Result<()> {
        let restored = &self.federation.nodes[at];
        let review = admin::review_epoch(restored.node()).await?;
        self.review_is_true(at, &review)?;
        ensure!(review.policy == backup.policy, "policy {} is shown", review.policy);
        let officer = review.users.iter().any(|(name, _)| name == OFFICER);
        ensure!(officer == backup.officer, "the officer is shown: {officer}");
        self.nothing_widened(at, before)?;
        if narrows {
            self.narrow(at, narrowing).await?;
            self.review_is_true(at, &admin::review_epoch(restored.node()).await?)?;
        }
        restored.confirm().await?;
        self.federation.nodes.iter().for_each(TestNode::wake);
        if narrows {
            tokio::time::sleep(TEMPTED).await;
            self.narrowed(at, narrowing, before).await?;
            self.resume(at, narrowing).await?;
        }
        self.count(if narrows { "narrowed again" } else { "confirmed as shown" });
        Ok(())
    }

    /// What was narrowed again before the confirmation is in force after it.
    async fn narrowed(
        &self,
        at: usize,
        narrowing: &Narrowing,
        before: &Held,
    ) -> anyhow::Result<()> {
        if narrowing.policy {
            self.nothing_widened(at, before)?;
        }
        if let Some(peer) = narrowing.peer {
            let peer = &self.federation.nodes[peer].authority;
            let held = self.held_of(at)?;
            let (now, then) = (&held[peer], &before[peer]);
            ensure!(
                now.keys().all(|id| then.contains_key(id)),
                "{peer} is suspended, and got more"
            );
        }
        let refused = whoami(&self.federation.nodes[at], OFFICER).await?;
        let expected = (!is_officer(&self.federation.nodes[at])?).then_some("unknown_user");
        ensure!(refused.as_deref() == expected, "the officer: {refused:?}");
        Ok(())
    }

    async fn resume(&self, at: usize, narrowing: &Narrowing) -> anyhow::Result<()> {
        if let Some(peer) = narrowing.peer {
            let peer = &self.federation.nodes[peer].authority;
            let (node, two) = (self.federation.nodes[at].node(), person(Role::Coordinator));
            admin::change_peer(node, peer, PeerState::Active, "closed", &two).await?;
        }
        Ok(())
    }

    /// What a review counts is what the peers' own stores and the policy in force say.
    fn review_is_true(&self, at: usize, review: &Review) -> anyhow::Result<()> {
        let held = self.held_of(at)?;
        for shown in &review.peers {
            let expected = match shown.state {
                PeerState::Active => self.expected(at, &shown.authority, &held)?,
                _ => Counts::default(),
            };
            ensure!(shown.asked, "{} was not asked", shown.authority);
            // What was offered before the backup and may have arrived then counts as held: anew is
            // what surely is not.
            let counts = shown.counts;
            ensure!(
                (counts.alerts, counts.again) == (expected.alerts, expected.again)
                    && counts.anew <= expected.anew,
                "{} would get {expected:?}, and people are shown {:?}",
                shown.authority,
                shown.counts
            );
        }
        Ok(())
    }

    fn expected(&self, at: usize, peer: &AuthorityId, held: &Held) -> anyhow::Result<Counts> {
        let (mut counts, restored) = (Counts::default(), self.federation.nodes[at].node());
        let receiver = self.federation.nodes.iter().find(|node| node.authority == *peer);
        let receiver = receiver.context("a peer of this federation")?;
        let (policy, now) = (restored.policy.load_full(), restored.clock.now());
        let retracted = receiver.node().store.scan(Scan::<Tombstones>::all(), ALL_RECORDS)?;
        let retracted = retracted.into_iter().filter(|(_, gone)| gone.erased == Erased::Retracted);
        let retracted: BTreeSet<AlertId> = retracted.map(|(id, _)| id).collect();
        for (id, own) in restored.store.scan(Scan::<Own>::all(), ALL_RECORDS)? {
            let read = restored.store.read_blocking(|now| read_own(now, &id, &own));
            let facts = read?.facts();
            if policy.1.decide(peer, &facts, now).sharing != Sharing::None {
                counts.alerts += 1;
                counts.anew += u64::from(!held[peer].contains_key(&id));
                counts.again += u64::from(retracted.contains(&id));
            }
        }
        Ok(counts)
    }
}

fn is_officer(node: &TestNode) -> anyhow::Result<bool> {
    let users = admin::users(node.node())?;
    Ok(users.iter().any(|(name, user)| name == OFFICER && user.state == UserState::Active))
}

/// The reason for which a user is refused at the desk door; `None` when let in.
async fn whoami(node: &TestNode, user: &str) -> anyhow::Result<Option<String>> {
    let mut desk = DeskClient::new(node.desk(user).await?);
    let refused = desk.whoami(WhoamiRequest {}).await.err();
    Ok(refused.map(|status| {
        let reason = status.get_details_error_info().map(|info| info.reason);
        reason.unwrap_or_else(|| status.to_string())
    }))
}
