//! What time it is, and whether the node believes it. Expired data is erased, and that can't be
//! undone, so the node does not trust a clock that jumps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{TIMESTAMP_MAX, Timestamp};

/// A signed statement dated further ahead than this is refused: clocks of peers may differ by it.
pub const CLOCK_TOLERANCE_S: i64 = 300;

/// A running clock that moves this much against the monotonic one has leapt, in seconds: twice what
/// peers' clocks may differ by, so that setting a clock right by a peer's is not a leap.
pub const LEAP_S: i64 = 2 * CLOCK_TOLERANCE_S;

/// At a start, a clock further than this beyond the last time noted is not believed, in seconds: a
/// node is seldom off for longer.
pub const LEAP_AT_START_S: i64 = 2 * 86_400;

/// The source of time: the system's clock, or one that tests set. Once it is watched it does not
/// believe a leap, and continues from the last time that it believed; clones share this.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    anchor: Arc<Mutex<Option<Anchor>>>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Set { shown: Arc<AtomicI64>, passed: Arc<AtomicI64> },
    Shifted { by: Arc<AtomicI64>, passed: Arc<AtomicI64> },
}

/// A time that was believed, with the monotonic clock's reading at that moment.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    time: Timestamp,
    elapsed: i64,
    /// How far the clock may be ahead of it: as long as the node may have been off, until a time is
    /// first believed.
    ahead_max_s: i64,
}

/// A time that the clock shows but that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What the clock shows.
    pub shown: Timestamp,
    /// The last believed time, continued by the monotonic clock; at a start it lacks the time that
    /// the node was off.
    pub expected: Timestamp,
    /// The node started in doubt: nobody knows how long it was off.
    pub since_start: bool,
    elapsed: i64,
}

/// The bounds of the present time. What may not have ended counts as not ended; what may have begun
/// counts as begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The earliest time that it can be.
    pub earliest: Timestamp,
    /// The latest time that it can be.
    pub latest: Timestamp,
}

impl From<Timestamp> for Bounds {
    fn from(now: Timestamp) -> Self {
        Self { earliest: now, latest: now }
    }
}

impl Clock {
    fn from(source: Source) -> Self {
        Self { source, anchor: Arc::default() }
    }

    /// The system's clock.
    pub fn system() -> Self {
        Self::from(Source::System)
    }

    /// A clock that stands at `now` until it is moved.
    pub fn fixed(now: Timestamp) -> Self {
        let shown = Arc::new(AtomicI64::new(now.seconds()));
        Self::from(Source::Set { shown, passed: Arc::default() })
    }

    /// The system's clock moved by a number of seconds that [`Clock::shift`] sets.
    pub fn shifted() -> Self {
        Self::from(Source::Shifted { by: Arc::default(), passed: Arc::default() })
    }

    /// The present time: what the clock shows or, while that is in doubt, what it should show.
    pub fn now(&self) -> Timestamp {
        let (shown, doubt) = self.judged();
        doubt.map_or(shown, |doubt| doubt.expected)
    }

    /// What the clock shows, believed or not.
    pub fn shown(&self) -> Timestamp {
        match &self.source {
            Source::System => Timestamp::from_seconds(system_seconds()),
            Source::Set { shown, .. } => Timestamp::from_seconds(shown.load(Ordering::SeqCst)),
            Source::Shifted { by, passed } => {
                let moved = by.load(Ordering::SeqCst) + passed.load(Ordering::SeqCst);
                Timestamp::from_seconds(system_seconds() + moved)
            }
        }
    }

    /// The time that peers are told. A running node tells the time that it is sure of, so that two
    /// nodes whose clocks leapt together don't confirm each other. A node that starts in doubt
    /// tells what its clock shows, so that two that were off together can.
    pub fn told(&self) -> Timestamp {
        let (shown, doubt) = self.judged();
        doubt.filter(|doubt| !doubt.since_start).map_or(shown, |doubt| doubt.expected)
    }

    /// The bounds of the present time, for judging dates that others wrote: a node that starts in
    /// doubt knows no latest time.
    pub fn bounds(&self) -> Bounds {
        match self.judged().1.filter(|doubt| doubt.since_start) {
            Some(doubt) => Bounds {
                earliest: doubt.expected.min(doubt.shown),
                latest: Timestamp::from_seconds(TIMESTAMP_MAX),
            },
            None => self.now().into(),
        }
    }

    /// Seconds of the monotonic clock, which nobody can set, from an arbitrary beginning.
    pub fn elapsed(&self) -> i64 {
        match &self.source {
            Source::System => elapsed_seconds(),
            Source::Set { passed, .. } => passed.load(Ordering::SeqCst),
            Source::Shifted { passed, .. } => elapsed_seconds() + passed.load(Ordering::SeqCst),
        }
    }

    /// Watches the clock from now on: a leap against the monotonic clock, or against the time that
    /// was noted before the start, is not believed.
    pub fn watch(&self, noted: Option<Timestamp>) {
        let (shown, elapsed) = (self.shown(), self.elapsed());
        let anchor = match noted {
            Some(time) => Anchor { time, elapsed, ahead_max_s: LEAP_AT_START_S },
            None => Anchor { time: shown, elapsed, ahead_max_s: LEAP_S },
        };
        *self.anchor() = Some(anchor);
    }

    /// The doubt in what the clock shows, if there is any.
    pub fn doubt(&self) -> Option<Doubt> {
        self.judged().1
    }

    /// Believes the time that the clock showed, because a peer or a person confirmed it.
    pub fn believe(&self, doubt: &Doubt) {
        let (time, elapsed) = (doubt.shown, doubt.elapsed);
        *self.anchor() = Some(Anchor { time, elapsed, ahead_max_s: LEAP_S });
    }

    /// The clock's present reading, judged. It is read once, so that it can't leap in between.
    fn judged(&self) -> (Timestamp, Option<Doubt>) {
        let mut held = self.anchor();
        let (shown, elapsed) = (self.shown(), self.elapsed());
        let Some(anchor) = &mut *held else { return (shown, None) };
        let expected = anchor.time.plus(elapsed - anchor.elapsed);
        let since_start = anchor.ahead_max_s > LEAP_S;
        if (-LEAP_S..=anchor.ahead_max_s).contains(&shown.since(expected)) {
            if since_start {
                *anchor = Anchor { time: shown, elapsed, ahead_max_s: LEAP_S };
            }
            return (shown, None);
        }
        (shown, Some(Doubt { shown, expected, since_start, elapsed }))
    }

    fn anchor(&self) -> MutexGuard<'_, Option<Anchor>> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what a fixed clock shows, as if somebody set it; has no effect on other clocks.
    pub fn set(&self, now: Timestamp) {
        if let Source::Set { shown, .. } = &self.source {
            shown.store(now.seconds(), Ordering::SeqCst);
        }
    }

    /// Sets the difference between a shifted clock and the system's, in seconds; has no effect on
    /// other clocks.
    pub fn shift(&self, seconds: i64) {
        if let Source::Shifted { by, .. } = &self.source {
            by.store(seconds, Ordering::SeqCst);
        }
    }

    /// Lets time pass, in seconds, for both the clock and the monotonic clock; has no effect on the
    /// system's clock.
    pub fn pass(&self, seconds: i64) {
        match &self.source {
            Source::System => {}
            Source::Set { shown, passed } => {
                shown.fetch_add(seconds, Ordering::SeqCst);
                passed.fetch_add(seconds, Ordering::SeqCst);
            }
            Source::Shifted { passed, .. } => drop(passed.fetch_add(seconds, Ordering::SeqCst)),
        }
    }
}

fn system_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Reads the clock that continues while the machine sleeps.
#[cfg(target_os = "linux")]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Boottime;

#[cfg(not(target_os = "linux"))]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

fn elapsed_seconds() -> i64 {
    rustix::time::clock_gettime(MONOTONIC).tv_sec
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    fn clock() -> (Clock, Timestamp) {
        let right = Timestamp::from_seconds(1_800_000_000);
        (Clock::fixed(right), right)
    }

    #[test]
    fn a_running_clock_that_leaps_is_carried_on_until_it_is_right_or_believed() {
        let (clock, right) = clock();
        clock.watch(None);
        for leap in [LEAP_S + 1, 2 * DAY_S, 29 * DAY_S, -LEAP_S - 1, -400 * DAY_S] {
            clock.set(right.plus(leap));
            assert_eq!(
                (clock.now(), clock.told(), clock.shown()),
                (right, right, right.plus(leap))
            );
            clock.pass(100);
            assert_eq!(clock.now(), right.plus(100), "it goes on");
            clock.pass(-100);
            clock.set(right);
            assert_eq!((clock.now(), clock.doubt()), (right, None));
        }
        for small in [LEAP_S, -LEAP_S] {
            clock.set(right.plus(small));
            assert_eq!((clock.now(), clock.doubt()), (right.plus(small), None));
        }
        clock.set(right.plus(DAY_S));
        clock.believe(&clock.doubt().unwrap());
        assert_eq!((clock.now(), clock.doubt()), (right.plus(DAY_S), None));
        clock.set(right);
        assert_eq!(clock.now(), right.plus(DAY_S), "and back it is a leap again");
    }

    #[test]
    fn a_start_is_believed_within_two_days_of_the_time_that_was_noted() {
        let (clock, right) = clock();
        for (noted, believed) in [
            (right.plus(-2 * DAY_S), true),
            (right, true),
            (right.plus(LEAP_S), true),
            (right.plus(-2 * DAY_S - 1), false),
            (right.plus(LEAP_S + 1), false),
        ] {
            clock.watch(Some(noted));
            assert_eq!(clock.doubt().is_none(), believed, "{noted}");
            assert_eq!(clock.now(), if believed { right } else { noted });
            assert_eq!(clock.told(), right);
        }
        // Once a time is believed, the allowance for the time off is used up.
        clock.watch(Some(right.plus(-DAY_S)));
        assert_eq!(clock.now(), right);
        clock.set(right.plus(DAY_S));
        assert_eq!(clock.now(), right);
    }
}
