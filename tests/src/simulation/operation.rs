//! What a simulation does, as data: a list that is made from a seed, kept in a file, and means the
//! same when the kinds of operations have become more.

use std::fmt::Write;

use anyhow::Context;
use entente_node::id::Entropy;
use serde::{Deserialize, Serialize};

use super::{AT_ONCE, NAMES, PASSPORTS};
use crate::proxy::Fault;

/// Alerts are named by the order of their creation; so many are told apart.
const ALERTS: usize = 1000;

/// Times that a disk is filled again at most: the reserve has four pieces.
const FILLED_AGAIN: usize = 7;

/// Clocks of nodes in good order are within the tolerance of 300 s of one another.
const JUMP_S: i64 = 140;

/// Bytes after which a connection breaks, at most.
const RESET_AFTER: usize = 60_000;

/// One thing that happens; `at` says to which node, by its place in the list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Alerts are created, all at once.
    Create { at: usize, drafts: Vec<Shape> },
    /// An alert gets its next version.
    Update { alert: usize, draft: Shape },
    /// An alert is withdrawn.
    Withdraw { alert: usize },
    /// A policy is put in force.
    Apply { at: usize, policy: String },
    /// Connections to a node suffer from now on.
    Disturb { at: usize, fault: Fault },
    /// A node ends in good order and starts again.
    Restart { at: usize },
    /// A clock is set a little off.
    Jump { at: usize, seconds: i64 },
    /// A clock is weeks off for a moment.
    Leap { at: usize, ahead: bool },
    /// A node starts with a clock that is weeks off, and is set right while it runs or before
    /// another start.
    LeapAcrossAStart { at: usize, ahead: bool, restart: bool, draft: Shape },
    /// A disk is filled, and gets room again.
    Fill { at: usize, fill: Fill },
    /// The store is copied aside.
    BackUp { at: usize },
    /// The last copy takes the place of the store, or one that is made now.
    Restore { at: usize, now: bool, narrowing: Narrowing, again: bool },
    /// A peer is suspended for a moment.
    Suspend { at: usize },
    /// A notice is sent.
    SendNotice { from: usize, to: usize },
    /// A notice that arrived is acknowledged.
    AcknowledgeNotice { notice: usize },
}

/// What is drawn of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Which of the passports.
    pub passport: u64,
    /// A missing person, or one in a discreet check.
    pub missing: bool,
    /// Handling H1 instead of H0.
    pub restricted: bool,
    /// It ends early.
    pub ends: bool,
}

/// What happens while a disk is full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The node has looked, and knows: nothing is begun for which there is no room.
    pub known: bool,
    /// How often it is filled anew, while what was kept back is given up.
    pub again: usize,
    /// The node starts without room.
    pub restart: bool,
    /// What is created and withdrawn meanwhile; of each more than one, the next ones follow.
    pub draft: Shape,
    /// Which alert of the node is withdrawn first.
    pub alert: usize,
}

/// What is narrowed after a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    /// No policy gives anything to anybody.
    pub policy: bool,
    /// This peer is suspended.
    pub peer: Option<usize>,
    /// The officer is removed.
    pub officer: bool,
}

impl Shape {
    /// The same with another passport, so that what forbids this one does not forbid it.
    #[must_use]
    pub fn next(self, number: usize) -> Self {
        Self { passport: (self.passport + number as u64) % PASSPORTS, ..self }
    }
}

/// As many operations as asked for: the same seed makes the same ones.
pub fn generate(seed: u64, count: usize) -> Vec<Operation> {
    let draw = Draw(Entropy::seeded(seed));
    (0..count).map(|_| draw.operation()).collect()
}

/// One operation a line; lines that begin with `#` are for people.
///
/// # Errors
/// The line that is no operation, and why.
pub fn parse(text: &str) -> anyhow::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let operation: Operation =
            serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        anyhow::ensure!(operation.at() < NAMES.len(), "line {}: there is no such node", number + 1);
        operations.push(operation);
    }
    Ok(operations)
}

/// What [`parse`] reads.
pub fn print(operations: &[Operation]) -> String {
    operations.iter().fold(String::new(), |mut text, operation| {
        let line = serde_json::to_string(operation).unwrap_or_default();
        let _ = writeln!(text, "{line}");
        text
    })
}

impl Operation {
    /// The node it happens at, or the first.
    fn at(&self) -> usize {
        match self {
            Self::Update { .. } | Self::Withdraw { .. } | Self::AcknowledgeNotice { .. } => 0,
            Self::SendNotice { from, to } => (*from).max(*to),
            Self::Create { at, .. }
            | Self::Apply { at, .. }
            | Self::Disturb { at, .. }
            | Self::Restart { at }
            | Self::Jump { at, .. }
            | Self::Leap { at, .. }
            | Self::LeapAcrossAStart { at, .. }
            | Self::Fill { at, .. }
            | Self::BackUp { at }
            | Self::Suspend { at } => *at,
            Self::Restore { at, narrowing, .. } => (*at).max(narrowing.peer.unwrap_or_default()),
        }
    }
}

struct Draw(Entropy);

impl Draw {
    fn below(&self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    fn coin(&self) -> bool {
        self.below(2) == 0
    }

    fn operation(&self) -> Operation {
        let at = self.below(NAMES.len());
        match self.below(100) {
            0..31 => {
                let drafts = (0..=self.below(AT_ONCE)).map(|_| self.shape()).collect();
                Operation::Create { at, drafts }
            }
            31..35 => {
                let to = (at + 1 + self.below(NAMES.len() - 1)) % NAMES.len();
                Operation::SendNotice { from: at, to }
            }
            35..38 => Operation::AcknowledgeNotice { notice: self.below(ALERTS) },
            38..52 => Operation::Update { alert: self.below(ALERTS), draft: self.shape() },
            52..59 => Operation::Withdraw { alert: self.below(ALERTS) },
            59..70 => Operation::Apply { at, policy: self.policy(at) },
            70..79 => Operation::Disturb { at, fault: self.fault() },
            79..83 => Operation::Restart { at },
            83..85 => {
                let seconds = self.below(2 * JUMP_S as usize) as i64 - JUMP_S;
                Operation::Jump { at, seconds }
            }
            85..87 => Operation::Leap { at, ahead: self.coin() },
            87..89 => {
                let (ahead, restart) = (self.coin(), self.coin());
                Operation::LeapAcrossAStart { at, ahead, restart, draft: self.shape() }
            }
            89..91 => Operation::Fill { at, fill: self.fill() },
            91..95 => Operation::BackUp { at },
            95..98 => {
                let (now, again) = (self.coin(), self.coin());
                Operation::Restore { at, now, narrowing: self.narrowing(at), again }
            }
            _ => Operation::Suspend { at },
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            passport: self.below(PASSPORTS as usize) as u64,
            missing: self.coin(),
            restricted: self.coin(),
            ends: self.below(3) == 0,
        }
    }

    fn policy(&self, at: usize) -> String {
        let claims =
            ["*", "subjects.names", "subjects.marks", "subjects.birth_year", "locations.text"];
        let mut policy = String::new();
        for (number, peer) in NAMES.iter().enumerate().filter(|(number, _)| *number != at) {
            policy += &format!("[[rule]]\nname = 'r{number}'\npeers = ['{peer}']\n");
            let (first, second) = (claims[self.below(5)], claims[self.below(5)]);
            policy += &match self.below(5) {
                0 => "level = 'none'\n".to_owned(),
                1 => format!(
                    "level = 'view'\nclaims = ['{first}']\n\
                     when = {{ subject_category = ['suspect'] }}\n"
                ),
                2 => format!(
                    "level = 'view'\nclaims = ['{first}']\nwhen = {{ handling = ['H0'] }}\n"
                ),
                _ => format!("level = 'view'\nclaims = ['{first}', '{second}']\n"),
            };
        }
        policy
    }

    fn fault(&self) -> Fault {
        match self.below(6) {
            0 | 1 => Fault::Cut,
            2 => Fault::Slow { millis: 20 },
            3 => Fault::ResetAfter { bytes: self.below(RESET_AFTER) as u64 },
            4 => Fault::Swallow,
            _ => Fault::None,
        }
    }

    fn fill(&self) -> Fill {
        // What was asked within the second says that there is room: writes may fail.
        let known = self.coin();
        let again = if known { 0 } else { self.below(FILLED_AGAIN) };
        // A start takes what is kept back, which is eaten up when the disk was filled often.
        let restart = again == 0 && self.coin();
        Fill { known, again, restart, draft: self.shape(), alert: self.below(ALERTS) }
    }

    /// At least one thing.
    fn narrowing(&self, at: usize) -> Narrowing {
        let kinds = 1 + self.below(7);
        let peer = (at + 1 + self.below(NAMES.len() - 1)) % NAMES.len();
        let peer = (kinds & 2 != 0).then_some(peer);
        Narrowing { policy: kinds & 1 != 0, peer, officer: kinds & 4 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_makes_the_same_operations_and_a_list_is_read_as_it_was_written() {
        let made = generate(7, 2000);
        assert_eq!(made, generate(7, 2000));
        assert_ne!(made, generate(8, 2000));
        let text = print(&made);
        assert_eq!(parse(&format!("# what for\n{text}")).unwrap(), made);
        let kind = |line: &str| line.split('"').nth(3).unwrap_or_default().to_owned();
        let kinds: BTreeSet<String> = text.lines().map(kind).collect();
        assert_eq!(kinds.len(), 15, "{kinds:?}");
    }

    #[test]
    fn what_is_no_operation_is_refused_with_its_line() {
        for (wrong, says) in [
            (r#"{"do":"restart"}"#, "missing field `at`"),
            (r#"{"do":"restart","at":4}"#, "no such node"),
            (r#"{"do":"restart","at":1,"in":2}"#, "unknown field"),
            (r#"{"do":"rest","at":1}"#, "unknown variant"),
        ] {
            let error = parse(&format!("# one\n{wrong}\n")).unwrap_err();
            let told = format!("{error:#}");
            assert!(told.starts_with("line 2") && told.contains(says), "{told}");
        }
    }
}
