//! Schema 5: an entry of the feed says what it is about and whom it is for. Before, each was about
//! an alert, and for everyone.

use serde::{Deserialize, Serialize};

use super::{Pace, Step};
use crate::id::{AlertId, FeedSeq};
use crate::store::{Feed, FeedEntry, Subject, Table, To};

pub(super) const STEP: Step = Step {
    what: "the feed says whom each entry is for",
    pace: Pace::Slow,
    work: |work| {
        work.each::<OldFeed>(|tx, place, OldEntry { alert, withdrawn }| {
            let (subject, to) = (Subject::Alert(alert), To::Everyone);
            tx.put::<Feed>(&place, &FeedEntry { subject, to, withdrawn });
            Ok(())
        })
    },
};

enum OldFeed {}

impl Table for OldFeed {
    const PREFIX: u8 = 0x20;
    type Key = FeedSeq;
    type Value = OldEntry;
}

#[derive(Serialize, Deserialize)]
struct OldEntry {
    alert: AlertId,
    withdrawn: bool,
}
