//! When the parts that a node depends on expire: its certificate, the CAs that issued it and those
//! of its users, and the keys in its descriptor.

use crate::id::Timestamp;

/// The warning comes this long before a certificate or CA expires, in seconds: time to get a new
/// one.
const CERTIFICATE_WARNING_S: i64 = 30 * 86_400;

/// The warning comes this long before a key expires, in seconds: at every peer two people must
/// admit the new descriptor.
const KEY_WARNING_S: i64 = 90 * 86_400;

/// A part that a node depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate of both doors, and of calls to peers.
    Certificate,
    /// The root in the descriptor that expires last.
    Root,
    /// The user CA that expires last.
    UserCa,
    /// The key that signs alerts, heads and receipts.
    StatementKey,
    /// The key that signs checkpoints of the log.
    LogKey,
}

/// The parts that a node depends on, each with its last second.
#[derive(Clone, Debug, Default)]
pub struct Ends(pub Vec<(Part, Timestamp)>);

/// A part that has expired or soon will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub part: Part,
    /// Its last second.
    pub at: Timestamp,
    /// Whether that has passed.
    pub ended: bool,
}

impl Ends {
    /// The parts that have expired or soon will: certificates by the time that the clock shows, as
    /// in TLS, and keys by the time that the node believes.
    pub fn near(&self, shown: Timestamp, believed: Timestamp) -> Vec<Ending> {
        let near = |(part, at): &(Part, Timestamp)| {
            let (part, at) = (*part, *at);
            let now = match part {
                Part::Certificate | Part::Root | Part::UserCa => shown,
                Part::StatementKey | Part::LogKey => believed,
            };
            (now > at.plus(-part.warning_s())).then_some(Ending { part, at, ended: now > at })
        };
        self.0.iter().filter_map(near).collect()
    }

    /// When a part ended, if it has at `now`.
    pub fn ended(&self, part: Part, now: Timestamp) -> Option<Timestamp> {
        let ended = self.0.iter().find(|(other, at)| *other == part && now > *at);
        ended.map(|(_, at)| *at)
    }
}

impl Part {
    fn warning_s(self) -> i64 {
        match self {
            Self::Certificate | Self::Root | Self::UserCa => CERTIFICATE_WARNING_S,
            Self::StatementKey | Self::LogKey => KEY_WARNING_S,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "the node's own certificate",
            Self::Root => "the last root in the node's descriptor",
            Self::UserCa => "the user CA",
            Self::StatementKey => "the statement key",
            Self::LogKey => "the log key",
        }
    }

    /// What no longer works once it has expired.
    fn effect(self) -> &'static str {
        match self {
            Self::Certificate => "nobody gets in at either door, and no peer lets this node in",
            Self::Root => "no peer lets this node in",
            Self::UserCa => "nobody gets in at the desk door",
            Self::StatementKey => {
                "nothing is created, updated, imported or offered, while reading, searching, \
                 withdrawing and erasing go on"
            }
            Self::LogKey => "checkpoints of the log are not signed",
        }
    }

    /// What helps.
    fn remedy(self) -> &'static str {
        match self {
            Self::Certificate => {
                "make a new one (`entente certs node`, or your own CA), put it and its key in \
                 place of tls/node.pem and tls/node.key, then run `entente reload`, or start the \
                 node"
            }
            Self::Root => {
                "make a new CA, append its certificate to tls/roots.pem, run `entente-node draft`, \
                 sign the draft, run `entente reload`, and send the descriptor to your peers"
            }
            Self::UserCa => {
                "make a new CA, append its certificate to users/ca.pem, and run `entente reload`; \
                 then give people new certificates"
            }
            Self::StatementKey | Self::LogKey => {
                "run `entente-node draft`, sign the draft with the identity key (`entente identity \
                 sign`), run `entente reload`, and send the descriptor to your peers, who import \
                 and approve it"
            }
        }
    }
}

impl Ending {
    /// Stable and machine-readable.
    pub fn reason(&self) -> &'static str {
        match (self.part, self.ended) {
            (Part::Certificate, false) => "certificate_ends",
            (Part::Certificate, true) => "certificate_ended",
            (Part::Root, false) => "root_ends",
            (Part::Root, true) => "root_ended",
            (Part::UserCa, false) => "user_ca_ends",
            (Part::UserCa, true) => "user_ca_ended",
            (Part::StatementKey, false) => "statement_key_ends",
            (Part::StatementKey, true) => "statement_key_ended",
            (Part::LogKey, false) => "log_key_ends",
            (Part::LogKey, true) => "log_key_ended",
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, day, remedy) = (self.part.name(), self.at.date(), self.part.remedy());
        if self.ended {
            write!(f, "{name} ended on {day}: {}; {remedy}", self.part.effect())
        } else {
            write!(f, "{name} ends on {day}; then {}: {remedy}", self.part.effect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    #[test]
    fn every_part_is_said_before_it_ends_and_after() {
        let at = Timestamp::from_seconds(1_800_000_000);
        for (part, days) in [
            (Part::Certificate, 30),
            (Part::Root, 30),
            (Part::UserCa, 30),
            (Part::StatementKey, 90),
            (Part::LogKey, 90),
        ] {
            let ends = Ends(vec![(part, at)]);
            let near = |seconds: i64| {
                let now = at.plus(seconds);
                ends.near(now, now).first().map(|ending| ending.ended)
            };
            assert_eq!(near(-days * DAY_S), None, "{part:?}");
            assert_eq!(near(-days * DAY_S + 1), Some(false), "{part:?}");
            assert_eq!(near(0), Some(false), "{part:?}: its last second counts");
            assert_eq!(near(1), Some(true), "{part:?}");
            assert_eq!(ends.ended(part, at), None);
            assert_eq!(ends.ended(part, at.plus(1)), Some(at));
            let said = ends.near(at.plus(1), at.plus(1)).first().unwrap().to_string();
            assert!(said.contains("ended on 2027-01-15") && said.contains("`entente"), "{said}");
        }
    }

    #[test]
    fn certificates_end_by_the_time_shown_and_keys_by_the_time_believed() {
        let at = Timestamp::from_seconds(1_800_000_000);
        let ends = Ends(vec![(Part::Certificate, at), (Part::StatementKey, at)]);
        let ended = |shown: i64, believed: i64| -> Vec<Part> {
            let near = ends.near(at.plus(shown), at.plus(believed));
            near.into_iter().filter(|ending| ending.ended).map(|ending| ending.part).collect()
        };
        assert_eq!(ended(1, 0), [Part::Certificate]);
        assert_eq!(ended(0, 1), [Part::StatementKey]);
    }
}
