//! The disclosure ledger: what a peer holds of an alert, or must be taken to hold, and what each
//! step of a stream makes of that. ARCHITECTURE.md has the transitions; the test below runs them.

use super::kind::{Kind, Leaves};
use crate::alert::ClaimSet;
use crate::id::{Epoch, StreamSeq, Timestamp, Version};
use crate::store::{Disclosed, LedgerEntry, Offered};

/// Disclosures of one alert that a peer may hold, kept apart: a peer that acknowledges none, or
/// hands every part of it back to us, makes no record too large.
pub(super) const POSSIBLE_MAX: usize = 64;

/// Where something was offered: number of the stream and place in it. What is offered later is
/// greater.
pub(super) type OfferedAt = (Epoch, StreamSeq);

/// Stands for an offer that was forgotten with an old state: before every other.
const FORGOTTEN: OfferedAt = (0, 0);

/// What a statement does to what its receiver holds of the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Whatever it holds is replaced by these claims of this version.
    Disclose(Version, ClaimSet),
    /// Whatever it holds is erased.
    Erase,
}

impl Effect {
    pub(super) fn of(offered: &Offered) -> Self {
        match (Kind::of(offered).rules().leaves, offered) {
            (Leaves::Nothing, _) => Self::Erase,
            (Leaves::Content, Offered::View { version, claims }) => {
                Self::Disclose(*version, *claims)
            }
            // There is one version of it, and it has no claims.
            (Leaves::Content, _) => Self::Disclose(1, ClaimSet::EMPTY),
        }
    }

    pub(super) fn claims(self) -> ClaimSet {
        match self {
            Self::Disclose(_, claims) => claims,
            Self::Erase => ClaimSet::EMPTY,
        }
    }
}

impl LedgerEntry {
    /// A statement got its place, and is about to leave: from here on what it discloses counts as
    /// held.
    pub(super) fn offered(&mut self, place: OfferedAt, effect: Effect, at: Timestamp) {
        match effect {
            Effect::Disclose(version, claims) => {
                self.possible.retain(|d| (d.version, d.claims) != (version, claims));
                self.add_possible(place, (version, claims), at);
            }
            Effect::Erase => self.taken_back = Some(place),
        }
    }

    /// A retraction stands in for what was offered at `place`.
    pub(super) fn replaced(&mut self, place: OfferedAt) {
        // A later offer of the same alert still stands.
        if self.possible.iter().all(|disclosed| place_of(disclosed) <= place) {
            self.taken_back = Some(place);
        }
    }

    /// The peer did what the statement at `place` says. Something later may be under way.
    pub(super) fn acknowledged(&mut self, place: OfferedAt, effect: Effect) {
        match effect {
            Effect::Disclose(..) => {
                let newest = self.possible.iter().find(|d| place_of(d) == place);
                self.held = newest.cloned().or(self.held.take());
            }
            Effect::Erase => {
                self.held = None;
                self.erased = self.taken_back == Some(place);
            }
        }
        self.possible.retain(|disclosed| place_of(disclosed) > place);
    }

    /// The peer refused the statement at `place`. A view was disclosed all the same, so that it
    /// may hold it; and what it was to erase it still holds.
    pub(super) fn refused(&mut self, place: OfferedAt, effect: Effect) {
        if effect == Effect::Erase {
            self.taken_back = self.taken_back.filter(|taken_back| *taken_back != place);
        }
    }

    /// The peer handed these claims back after a loss of state: it holds them, though the offer
    /// was forgotten. False when that was known.
    pub(super) fn handed_back(&mut self, version: Version, given: ClaimSet, at: Timestamp) -> bool {
        let known = |d: &Disclosed| d.version == version && given.is_subset(d.claims);
        if self.held.iter().chain(&self.possible).any(known) && self.taken_back.is_none() {
            return false;
        }
        self.add_possible(FORGOTTEN, (version, given), at);
        true
    }

    /// The peer handed our retraction back after a loss of state: it has erased the alert.
    pub(super) fn retraction_handed_back(&mut self) {
        let taken_back = self.taken_back.or(Some(FORGOTTEN));
        *self = Self { held: None, possible: vec![], taken_back, erased: true };
    }

    /// Whether the peer holds, or may hold, something of the alert that was not taken back.
    pub(crate) fn may_hold(&self) -> bool {
        self.taken_back.is_none() && (self.held.is_some() || !self.possible.is_empty())
    }

    /// Whether the peer may hold something of the alert without ever having said so: it was
    /// offered, and neither acknowledged nor handed back.
    pub(crate) fn is_unsure(&self) -> bool {
        let handed_back = self.possible.iter().any(|d| place_of(d) == FORGOTTEN);
        self.may_hold() && self.held.is_none() && !handed_back
    }

    /// Whether the peer may hold something of the alert that does not end with its last version.
    pub(super) fn may_outlive(&self, last: Version) -> bool {
        let last_held = self.held.as_ref().is_some_and(|held| held.version == last);
        self.may_hold() && !(last_held && self.possible.is_empty())
    }

    /// Whether the newest that was offered is just this, in this epoch: in a new one everything is
    /// offered again.
    pub(super) fn stands(&self, epoch: Epoch, version: Version, claims: ClaimSet) -> bool {
        let newest = self.possible.last().or(self.held.as_ref());
        self.taken_back.is_none()
            && newest.is_some_and(|d| (d.epoch, d.version, d.claims) == (epoch, version, claims))
    }

    /// The last place at which something was offered of the alert.
    pub(super) fn newest_place(&self) -> OfferedAt {
        let views = self.possible.iter().chain(&self.held).map(place_of);
        views.chain(self.taken_back).max().unwrap_or_default()
    }

    /// The newest version that was offered.
    pub(super) fn newest_version(&self) -> Version {
        let views = self.possible.iter().chain(&self.held);
        views.map(|disclosed| disclosed.version).max().unwrap_or_default()
    }

    fn add_possible(
        &mut self,
        (epoch, seq): OfferedAt,
        (version, claims): (Version, ClaimSet),
        at: Timestamp,
    ) {
        self.possible.push(Disclosed { epoch, seq, version, claims, at });
        self.taken_back = None;
        self.erased = false;
        if self.possible.len() > POSSIBLE_MAX {
            // The oldest two are joined: what they disclosed stays in the ledger.
            let oldest = self.possible.remove(0);
            if let Some(next) = self.possible.first_mut() {
                next.claims = next.claims.union(oldest.claims);
            }
        }
    }
}

fn place_of(disclosed: &Disclosed) -> OfferedAt {
    (disclosed.epoch, disclosed.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");

    fn now() -> Timestamp {
        Timestamp::from_seconds(0)
    }

    /// The rows of the table below a heading of ARCHITECTURE.md, each split into its cells.
    fn rows(header: &str) -> Vec<Vec<&'static str>> {
        let below = ARCHITECTURE.split_once(header).expect("the table").1;
        let rows = below.lines().skip(1).take_while(|line| line.starts_with('|'));
        let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
        rows.map(cells).collect()
    }

    /// `v2` are the core claims of version 2, `v2+` more of them.
    fn view(text: &str) -> (Version, ClaimSet) {
        let more = ClaimSet::core().union(ClaimSet::parse("subjects.names").expect("a claim"));
        let number = text.trim_start_matches('v').trim_end_matches('+');
        let claims = if text.ends_with('+') { more } else { ClaimSet::core() };
        (number.parse().expect("a version"), claims)
    }

    /// Places are of epoch 1, and 0 is the forgotten one.
    fn place(text: &str) -> OfferedAt {
        match text.parse().expect("a place") {
            0 => FORGOTTEN,
            seq => (1, seq),
        }
    }

    fn disclosed(text: &str) -> Disclosed {
        let (what, at) = text.split_once('@').expect("version@place");
        let ((version, claims), (epoch, seq)) = (view(what), place(at));
        Disclosed { epoch, seq, version, claims, at: now() }
    }

    fn parse(cell: &str) -> LedgerEntry {
        let mut ledger = LedgerEntry::default();
        for part in cell.split(", ").filter(|part| *part != "nothing") {
            let mut words = part.split(' ');
            match words.next().expect("a word") {
                "held" => ledger.held = words.next().map(disclosed),
                "possible" => ledger.possible = words.map(disclosed).collect(),
                "taken" => ledger.taken_back = part.split_once('@').map(|(_, at)| place(at)),
                "erased" => ledger.erased = true,
                other => panic!("{other}"),
            }
        }
        ledger
    }

    fn happen(ledger: &mut LedgerEntry, event: &str) {
        let (verb, what) = event.rsplit_once(' ').expect("two words");
        if verb == "handed back" {
            match what {
                "retraction" => ledger.retraction_handed_back(),
                text => drop(ledger.handed_back(view(text).0, view(text).1, now())),
            }
            return;
        }
        let (what, at) = what.split_once('@').expect("what@place");
        let effect = match what {
            "erasure" => Effect::Erase,
            text => Effect::Disclose(view(text).0, view(text).1),
        };
        match verb {
            "offered" => ledger.offered(place(at), effect, now()),
            "replaced" => ledger.replaced(place(at)),
            "acknowledged" => ledger.acknowledged(place(at), effect),
            "refused" => ledger.refused(place(at), effect),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_ledger_moves_as_the_table_says() {
        let rows = rows("| before | what happens | after |\n");
        assert!(rows.len() > 20, "{}", rows.len());
        for row in rows {
            let [before, event, after] = row.as_slice() else { panic!("{row:?}") };
            let mut ledger = parse(before);
            happen(&mut ledger, event);
            assert_eq!(ledger, parse(after), "{before} | {event}");
        }
    }

    #[test]
    fn a_peer_that_never_said_so_is_not_sure_to_hold_an_alert() {
        for (cell, unsure) in [
            ("nothing", false),
            ("possible v1@1", true),
            ("held v1@1", false),
            ("held v1@1, possible v2@2", false),
            ("possible v1@0", false),
            ("possible v1@1, taken @2", false),
        ] {
            assert_eq!(parse(cell).is_unsure(), unsure, "{cell}");
        }
    }

    #[test]
    fn the_ledger_answers_as_the_table_says() {
        let rows = rows("| ledger | may hold | may outlive v2 | v2 stands |\n");
        assert!(rows.len() > 5, "{}", rows.len());
        for row in rows {
            let [cell, answers @ ..] = row.as_slice() else { panic!("{row:?}") };
            let (ledger, claims) = (parse(cell), ClaimSet::core());
            let said = [ledger.may_hold(), ledger.may_outlive(2), ledger.stands(1, 2, claims)];
            let said = said.map(|yes| if yes { "yes" } else { "no" });
            assert_eq!(answers, said, "{cell}");
            assert!(!ledger.stands(2, 2, claims), "in another epoch it is offered again: {cell}");
        }
    }

    #[test]
    fn no_record_grows_beyond_its_bound_and_none_forgets_a_claim() {
        let names = ClaimSet::parse("subjects.names").expect("a claim");
        let mut ledger = LedgerEntry::default();
        ledger.offered((1, 1), Effect::Disclose(1, names), now());
        for seq in 2..200 {
            ledger.offered((1, seq), Effect::Disclose(seq as Version, ClaimSet::core()), now());
        }
        assert_eq!(ledger.possible.len(), POSSIBLE_MAX);
        assert!(ledger.possible.iter().any(|d| names.is_subset(d.claims)));
        assert_eq!((ledger.newest_place(), ledger.newest_version()), ((1, 199), 199));
    }
}
