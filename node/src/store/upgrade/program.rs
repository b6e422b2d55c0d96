//! Schema 2: the store says which version of Entente opened it last.

use super::{Pace, Step};

/// The name itself is written at the end of each upgrade and start: from schema 2 on it is there.
pub(super) const STEP: Step = Step {
    what: "the store names the version that opened it",
    pace: Pace::Quick,
    work: |_| Ok(()),
};
