//! What this node starts: connections to peers, the dispatch loop of each, peer tests, recovery.

mod channel;
mod connection;
mod peer_test;
mod recovery;
mod session;

pub use channel::connect;
pub use peer_test::test_peer;
pub use recovery::recover;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use connection::active_peers;
use session::SessionError;

use crate::id::{AuthorityId, Entropy};
use crate::node::{Live, SharedNode};
use crate::shutdown::Shutdown;
use crate::store::Change;

/// The first wait after a failed connection; each further failure doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(250);

/// Longest wait between two attempts: a peer that was down for a week is found again within a
/// minute.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How often to look through the list of peers when no change is announced.
const PEERS_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps a stream to every active peer until the node stops.
pub async fn run(node: SharedNode, heartbeat: Duration, mut shutdown: Shutdown) {
    let mut loops: HashMap<AuthorityId, JoinHandle<()>> = HashMap::new();
    let mut changes = node.store.changes();
    loop {
        loops.retain(|_, handle| !handle.is_finished());
        for peer in active_peers(&node) {
            loops.entry(peer.clone()).or_insert_with(|| {
                tokio::spawn(keep_sending(node.clone(), peer, heartbeat, shutdown.clone()))
            });
        }
        tokio::select! {
            () = shutdown.begun() => break,
            () = peers_changed(&mut changes) => {}
            () = tokio::time::sleep(PEERS_INTERVAL) => {}
        }
    }
    for (_, handle) in loops {
        // The panic hook has logged a loop that panicked; the others end by themselves.
        let _ = handle.await;
    }
}

/// Returns when peers changed, or may have changed unnoticed.
async fn peers_changed(changes: &mut tokio::sync::broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change::Peers) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Connects to one peer again and again while it is active.
async fn keep_sending(
    node: SharedNode,
    peer: AuthorityId,
    heartbeat: Duration,
    mut shutdown: Shutdown,
) {
    let mut backoff = Backoff::new(&node.entropy);
    let live = node.streams.live(&peer);
    let mut contacts = Contacts { seen: live.contacts(), woke: None, pause: WAKE_PAUSE };
    while !shutdown.has_begun() && node.directory.load().active(&peer).is_some() {
        contacts.seen.mark_unchanged();
        let ended = tokio::select! {
            ended = session::run(&node, &peer, heartbeat) => ended,
            () = contacts.come_while_stuck(&live) => {
                contacts.woke = Some(Instant::now());
                continue;
            }
            () = shutdown.begun() => break,
        };
        node.store.forget_opened();
        let was_open = std::mem::take(&mut live.status().sending);
        if was_open {
            backoff.reset();
        }
        let Err(error) = ended else { continue };
        tracing::info!(%peer, reason = error.reason(), "the stream to the peer ended: {error}");
        tell(&live, &error);
        let for_people = error.waits_for_people();
        let wait = if for_people { BACKOFF_MAX } else { backoff.next() };
        let mut changes = node.store.changes();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = contacts.come(), if !for_people => contacts.wake(&mut backoff),
            () = peers_changed(&mut changes) => {}
            () = shutdown.begun() => break,
        }
    }
    live.status().sending = false;
}

/// Puts where operators look why nothing goes to a peer.
fn tell(live: &Live, error: &SessionError) {
    let mut status = live.status();
    match error {
        SessionError::NoCommonProtocol(waiting) => {
            status.waiting = Some(waiting.clone());
            status.problem = None;
        }
        error => status.problem = Some(error.to_string()),
    }
}

/// A contact of the peer ends a wait at most once in this time: two nodes whose streams both fail
/// must not wake each other endlessly.
const WAKE_PAUSE: Duration = Duration::from_secs(5);

/// An attempt to connect that takes longer than this is abandoned when the peer contacts us: it
/// began when the peer could not be reached.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// The peer's own calls to us, which show that it can be reached.
struct Contacts {
    seen: watch::Receiver<u64>,
    woke: Option<Instant>,
    pause: Duration,
}

impl Contacts {
    async fn rest(&self) {
        if let Some(woke) = self.woke {
            tokio::time::sleep_until(woke + self.pause).await;
        }
    }

    /// Returns once the peer has contacted us since the last attempt began.
    async fn come(&mut self) {
        self.rest().await;
        if self.seen.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns at a contact if the attempt to connect has taken long; the contact stays noted.
    async fn come_while_stuck(&self, live: &Live) {
        let mut seen = self.seen.clone();
        tokio::time::sleep(STUCK_AFTER).await;
        self.rest().await;
        if live.status().sending || seen.changed().await.is_err() || live.status().sending {
            std::future::pending().await
        }
    }

    fn wake(&mut self, backoff: &mut Backoff) {
        if self.woke.is_none_or(|woke| woke.elapsed() > BACKOFF_MAX) {
            backoff.reset();
        }
        self.woke = Some(Instant::now());
    }
}

/// Waits that double, with jitter, so that peers of a node that was down don't all come back at
/// once.
struct Backoff {
    entropy: Entropy,
    wait: Duration,
}

impl Backoff {
    fn new(entropy: &Entropy) -> Self {
        Self { entropy: entropy.clone(), wait: BACKOFF_MIN }
    }

    fn reset(&mut self) {
        self.wait = BACKOFF_MIN;
    }

    /// A random time between half of the present wait and the whole.
    fn next(&mut self) -> Duration {
        let half = self.wait / 2;
        self.wait = (self.wait * 2).min(BACKOFF_MAX);
        half + Duration::from_millis(self.entropy.below(half.as_millis() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_again() {
        let mut backoff = Backoff::new(&Entropy::seeded(1));
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= BACKOFF_MIN / 2 && waits[0] <= BACKOFF_MIN);
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
        assert!(waits[19] >= BACKOFF_MAX / 2);
        backoff.reset();
        assert!(backoff.next() <= BACKOFF_MIN);
    }

    #[tokio::test]
    async fn a_contact_wakes_at_once_and_then_no_more_than_once_in_a_pause() {
        let (live, pause) = (Live::default(), Duration::from_millis(300));
        let mut contacts = Contacts { seen: live.contacts(), woke: None, pause };
        let mut backoff = Backoff::new(&Entropy::seeded(1));
        for _ in 0..20 {
            backoff.next();
        }
        let began = Instant::now();
        live.note_contact();
        contacts.come().await;
        assert!(began.elapsed() < pause, "{:?}", began.elapsed());
        contacts.wake(&mut backoff);
        assert!(backoff.next() <= BACKOFF_MIN, "and it is tried again soon");
        for times in 1..3 {
            live.note_contact();
            contacts.come().await;
            assert!(began.elapsed() >= pause * times, "{:?}", began.elapsed());
            contacts.wake(&mut backoff);
        }
        assert!(backoff.next() > BACKOFF_MIN / 2, "further ones don't make it try more often");
    }
}
