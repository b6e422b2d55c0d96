//! Connections whose handshake is done: bounded in total and for each caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shake::Unfinished;
use crate::trust::Identity;

/// Most connections of one caller, so that a peer or user can't keep others out.
const CONNECTIONS_PER_CALLER_MAX: usize = 32;

/// How many connections there are.
#[derive(Clone)]
pub(super) struct Seats {
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Identity, usize>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, caller: &Identity) -> Result<Seat, Unfinished> {
        let mut taken = self.taken();
        if taken.all >= self.max {
            return Err(Unfinished::DoorFull);
        }
        let count = taken.by.get(caller).copied().unwrap_or_default();
        if count >= CONNECTIONS_PER_CALLER_MAX {
            return Err(Unfinished::CallerFull);
        }
        taken.by.insert(caller.clone(), count + 1);
        taken.all += 1;
        Ok(Seat { caller: caller.clone(), seats: self.clone() })
    }
}

/// One connection of a caller, given back when dropped.
pub(super) struct Seat {
    caller: Identity,
    seats: Seats,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        match taken.by.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.by.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_in_all_and_for_each_caller() {
        let seats = Seats::new(CONNECTIONS_PER_CALLER_MAX + 2);
        let [greedy, modest] =
            ["dk.politi", "fr.police"].map(|name| Identity::Node(name.parse().unwrap()));
        let mut held: Vec<_> =
            (0..CONNECTIONS_PER_CALLER_MAX).map(|_| seats.take(&greedy).unwrap()).collect();
        assert!(matches!(seats.take(&greedy), Err(Unfinished::CallerFull)));
        held.extend((0..2).map(|_| seats.take(&modest).unwrap()));
        assert!(matches!(seats.take(&modest), Err(Unfinished::DoorFull)));
        held.pop();
        held.push(seats.take(&modest).unwrap());
        held.clear();
        let taken = seats.taken();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }
}
