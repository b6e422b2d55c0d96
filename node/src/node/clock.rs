//! Who confirms the time that the clock shows: a clock that leapt is not believed until a peer's
//! signed head, or a person, agrees with it.

use std::fmt;

use super::noted::{note, noted};
use super::streams::Witness;
use super::{Node, SharedNode};
use crate::audit::{Event, Operation};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Doubt, Timestamp};
use crate::store::{Change, CommitError, Committed, StoreError};

/// How often the time is noted, in seconds.
const NOTED_EVERY_S: i64 = 3600;

/// A head counts as a word on the time for this long, in seconds: one comes at least once a minute
/// while its stream is open.
const WITNESS_S: i64 = 900;

/// A time that the clock shows and nobody has confirmed, with what peers say about it.
#[derive(Clone, Debug)]
pub struct ClockDoubt {
    /// What the clock shows, and what was expected.
    pub doubt: Doubt,
    /// Peers whose heads show the same time.
    pub agree: Vec<AuthorityId>,
    /// Peers whose heads show another.
    pub differ: Vec<AuthorityId>,
}

impl ClockDoubt {
    /// Whether nothing may be issued: the node uses a time in the past, since nobody knows how long
    /// it was off.
    pub fn forbids_issuing(&self) -> bool {
        self.doubt.since_start
    }

    fn believed_by_peers(&self) -> bool {
        self.agree.len() > self.differ.len()
    }
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Doubt { shown, expected, since_start, .. } = self.doubt;
        let stands = match since_start {
            true => format!("the last time noted before the start is {expected}"),
            false => format!("it leapt from {expected}"),
        };
        let issued = if since_start { "issued and nothing is erased" } else { "erased" };
        write!(
            f,
            "the clock shows {shown}, and {stands}: nothing is {issued} until the clock is right, \
             a peer's clock agrees, or an administrator runs `entente clock confirm`"
        )
    }
}

/// The doubt in the clock, if there is any; `None` while the time is believed.
pub fn clock_doubt(node: &Node) -> Option<ClockDoubt> {
    let doubt = node.clock.doubt()?;
    let now = node.clock.elapsed();
    let directory = node.directory.load();
    let active = |peer: &&AuthorityId| directory.active(peer).is_some();
    let heard = node.streams.witnesses();
    let heard = heard.iter().filter(|(_, witness)| now - witness.heard <= WITNESS_S);
    let agrees = |witness: &Witness| {
        let there = witness.said.plus(now - witness.heard);
        there.since(doubt.shown).abs() <= CLOCK_TOLERANCE_S
    };
    let (agree, differ): (Vec<_>, Vec<_>) =
        heard.filter(|(peer, _)| active(&peer)).partition(|(_, witness)| agrees(witness));
    let names = |peers: Vec<&(AuthorityId, Witness)>| {
        let mut names: Vec<_> = peers.into_iter().map(|(peer, _)| peer.clone()).collect();
        names.sort();
        names
    };
    Some(ClockDoubt { doubt, agree: names(agree), differ: names(differ) })
}

/// What [`look_at_clock`] remembers from one look to the next.
#[derive(Debug, Default)]
pub struct ClockWatch {
    told: bool,
    /// A time that was believed, with the monotonic clock's reading then.
    last: Option<(Timestamp, i64)>,
}

/// Looks at the clock: says once when it comes into doubt, believes it when peers agree, and notes
/// the time now and then. Returns true when it now believes an earlier time than before, since what
/// was issued meanwhile is dated ahead.
///
/// # Errors
/// When the store failed.
pub async fn look_at_clock(node: &SharedNode, watch: &mut ClockWatch) -> Result<bool, StoreError> {
    let elapsed = node.clock.elapsed();
    if watch.last.is_none() {
        watch.last = noted(&node.store)?.map(|noted| (noted, elapsed));
    }
    believe_with_peers(node).await?;
    if let Some(doubt) = clock_doubt(node) {
        return come_into_doubt(node, &doubt, watch).await.map(|()| false);
    }
    if std::mem::take(&mut watch.told) {
        tracing::warn!("the clock is believed again");
        write(node, None, Event::new(Operation::Key, "clock.returned", "node")).await?;
    }
    let now = node.clock.now();
    let before = watch.last.replace((now, elapsed));
    let back =
        |(time, then): (Timestamp, i64)| now.plus(CLOCK_TOLERANCE_S) < time.plus(elapsed - then);
    note_clock(node, now).await.map(|()| before.is_some_and(back))
}

/// Ends the doubt if more peers agree with the clock than differ from it.
///
/// # Errors
/// When the store failed.
pub(crate) async fn believe_with_peers(node: &SharedNode) -> Result<(), StoreError> {
    let Some(doubt) = clock_doubt(node).filter(ClockDoubt::believed_by_peers) else {
        return Ok(());
    };
    tracing::warn!("the clock is believed, since peers agree: it shows {}", doubt.doubt.shown);
    believe_clock(node, &doubt, "node", None).await
}

async fn come_into_doubt(
    node: &SharedNode,
    doubt: &ClockDoubt,
    watch: &mut ClockWatch,
) -> Result<(), StoreError> {
    if std::mem::replace(&mut watch.told, true) {
        return Ok(());
    }
    tracing::error!("{doubt}");
    let event = Event::new(Operation::Key, "alarm.clock_leapt", "node");
    write(node, None, with_times(event, &doubt.doubt)).await
}

fn with_times(event: Event, doubt: &Doubt) -> Event {
    event.with("shown", doubt.shown.to_string()).with("expected", doubt.expected.to_string())
}

/// Believes what the clock shows, because peers or a person confirmed it, and notes it.
///
/// # Errors
/// When the store failed.
pub(crate) async fn believe_clock(
    node: &SharedNode,
    doubt: &ClockDoubt,
    by: &str,
    confirmed: Option<Timestamp>,
) -> Result<(), StoreError> {
    node.clock.believe(&doubt.doubt);
    let event = with_times(Event::new(Operation::Key, "clock.believed", by), &doubt.doubt)
        .with("agree", doubt.agree.len())
        .with("differ", doubt.differ.len());
    let event = match confirmed {
        Some(time) => event.with("confirmed", time.to_string()),
        None => event,
    };
    write(node, Some(doubt.doubt.shown), event).await?;
    // Rules may have begun or ended with the change of time.
    node.store.announce(Change::Feed);
    Ok(())
}

/// Notes the time, now and then.
async fn note_clock(node: &SharedNode, now: Timestamp) -> Result<(), StoreError> {
    if noted(&node.store)?.is_some_and(|noted| now.since(noted).abs() < NOTED_EVERY_S) {
        return Ok(());
    }
    write(node, Some(now), Event::new(Operation::Key, "clock.noted", "node")).await
}

async fn write(node: &SharedNode, time: Option<Timestamp>, event: Event) -> Result<(), StoreError> {
    let committed = node.store.commit(move |tx| {
        if let Some(time) = time {
            note(tx, time);
        }
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}
