//! What a node can't do at the moment, and what it soon won't: for whoever watches it, for its
//! people and for its peers.

use crate::exchange;
use crate::node::{Node, clock_doubt};
use crate::store::StoreError;
use crate::trust::{Ending, Part};

/// How much a reason takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing yet, or a part: the node serves, and somebody should act.
    Degraded,
    /// Creating and searching are refused, or nobody gets in.
    Refusing,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// How much it takes away.
    pub level: Level,
    /// Stable and machine-readable.
    pub reason: &'static str,
    /// What it is, and what to do about it.
    pub message: String,
}

/// Everything that is not as it should be, what takes most away first; empty when all is well.
pub fn readiness(node: &Node) -> Vec<Reason> {
    let ends = node.ends.load().near(node.clock.shown(), node.clock.now());
    let mut reasons: Vec<Reason> = [store(node), disk(node), lost_state(node), clock(node)]
        .into_iter()
        .flatten()
        .chain(ends.iter().map(Reason::from))
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));
    reasons
}

/// `ready`, `degraded` or `refusing`.
pub fn state(reasons: &[Reason]) -> &'static str {
    match reasons.iter().map(|reason| reason.level).max() {
        None => "ready",
        Some(Level::Degraded) => "degraded",
        Some(Level::Refusing) => "refusing",
    }
}

impl From<&Ending> for Reason {
    fn from(ending: &Ending) -> Self {
        let closes = matches!(ending.part, Part::Certificate | Part::Root | Part::UserCa);
        let level = if ending.ended && closes { Level::Refusing } else { Level::Degraded };
        Self { level, reason: ending.reason(), message: ending.to_string() }
    }
}

fn refusing(reason: &'static str, message: &str) -> Option<Reason> {
    Some(Reason { level: Level::Refusing, reason, message: message.to_owned() })
}

fn store(node: &Node) -> Option<Reason> {
    let message = "the store stopped writing, and goes on by itself once the disk takes writes: \
                   look at the log for the one that failed";
    node.store.writable().is_err().then(|| refusing("store_stopped", message)).flatten()
}

fn disk(node: &Node) -> Option<Reason> {
    if node.store.room() {
        return None;
    }
    refusing(
        "disk_full",
        "less than store.disk_free_bytes_min is free where the store lies: new alerts and searches \
         are refused, while withdrawing, retracting and erasing go on; free some space",
    )
}

fn lost_state(node: &Node) -> Option<Reason> {
    match exchange::lost_state(node) {
        Ok(false) => None,
        Ok(true) => refusing(
            "lost_state",
            "this node lost state: nothing is issued before two people confirmed how it goes on: \
             `entente epoch recover`, then `entente epoch show`",
        ),
        Err(error) => unreadable(&error),
    }
}

/// While the doubt is about a leap of the running node, it goes by the time before: only erasing
/// waits.
fn clock(node: &Node) -> Option<Reason> {
    let doubt = clock_doubt(node)?;
    let level = if doubt.forbids_issuing() { Level::Refusing } else { Level::Degraded };
    Some(Reason { level, reason: "clock_in_doubt", message: doubt.to_string() })
}

fn unreadable(error: &StoreError) -> Option<Reason> {
    refusing("store_unreadable", &format!("the store can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Timestamp;

    #[test]
    fn what_closes_a_door_refuses_and_what_stops_issuing_degrades() {
        for (part, level) in [
            (Part::Certificate, Level::Refusing),
            (Part::Root, Level::Refusing),
            (Part::UserCa, Level::Refusing),
            (Part::StatementKey, Level::Degraded),
            (Part::LogKey, Level::Degraded),
        ] {
            for (ended, level) in [(true, level), (false, Level::Degraded)] {
                let reason = Reason::from(&Ending { part, at: Timestamp::EPOCH, ended });
                assert_eq!(reason.level, level, "{part:?} {ended}");
            }
        }
    }
}
