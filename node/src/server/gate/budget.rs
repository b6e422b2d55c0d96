//! How much memory calls may use: a budget for each caller, whatever the number of its connections,
//! within one for the door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

use crate::reason::Reason;
use crate::trust::Identity;
use crate::wire::refusal::refusal;

/// What the calls of one caller may use together, in bytes: four imports, or two batches and a
/// recovery.
pub const CALLER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What all calls of the desk door may use together, in bytes: eight callers at their bound.
pub const DESK_BYTES_MAX: usize = 8 * CALLER_BYTES_MAX;

/// Like [`DESK_BYTES_MAX`], for the exchange door: a hundred peers whose streams have carried the
/// largest batch.
pub const EXCHANGE_BYTES_MAX: usize = 16 * CALLER_BYTES_MAX;

/// How long a call waits for memory from others: the time of a few hundred commits.
const WAIT: Duration = Duration::from_secs(2);

/// The unit of the budgets, in bytes.
const UNIT_BYTES: usize = 1024;

/// The budgets of one door.
pub struct Budget {
    door: Arc<Semaphore>,
    callers: Mutex<HashMap<Identity, Weak<Semaphore>>>,
}

fn semaphore(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes / UNIT_BYTES))
}

impl Budget {
    /// The budgets of a door whose calls may use this many bytes together.
    pub fn new(bytes: usize) -> Self {
        Self { door: semaphore(bytes), callers: Mutex::default() }
    }

    /// The budget of a caller, which all its connections share.
    pub fn of(&self, caller: &Identity) -> Allowance {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, held| held.strong_count() > 0);
        let own = callers.get(caller).and_then(Weak::upgrade).unwrap_or_else(|| {
            let own = semaphore(CALLER_BYTES_MAX);
            callers.insert(caller.clone(), Arc::downgrade(&own));
            own
        });
        Allowance { own, door: Arc::clone(&self.door) }
    }
}

/// The budgets from which a caller's calls take.
#[derive(Clone)]
pub struct Allowance {
    own: Arc<Semaphore>,
    door: Arc<Semaphore>,
}

/// A call's share, given back when dropped.
pub struct Charge {
    own: OwnedSemaphorePermit,
    door: OwnedSemaphorePermit,
}

impl Charge {
    /// Adds what was taken later.
    pub fn add(&mut self, more: Self) {
        self.own.merge(more.own);
        self.door.merge(more.door);
    }
}

impl Allowance {
    /// Takes `bytes` if they are free at once.
    pub fn take_now(&self, bytes: usize) -> Option<Charge> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(units(bytes)).ok()?;
        let door = Arc::clone(&self.door).try_acquire_many_owned(units(bytes)).ok()?;
        Some(Charge { own, door })
    }

    /// Takes `bytes`, and waits a little for them.
    ///
    /// # Errors
    /// When they did not become free in time.
    pub async fn take(&self, bytes: usize) -> Result<Charge, Status> {
        if let Some(charge) = self.take_now(bytes) {
            return Ok(charge);
        }
        let waited = tokio::time::timeout(WAIT, self.wait_for(units(bytes))).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            let message = "calls under way hold all the memory that this caller or this door may \
                           have: let them end, then call again";
            refusal(Code::ResourceExhausted, Reason::TooMuchAtOnce, message)
        })
    }

    async fn wait_for(&self, units: u32) -> Result<Charge, AcquireError> {
        let own = Arc::clone(&self.own).acquire_many_owned(units).await?;
        let door = Arc::clone(&self.door).acquire_many_owned(units).await?;
        Ok(Charge { own, door })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gate::methods::METHODS;
    use crate::server::gate::request::COPIES;

    fn peer(number: usize) -> Identity {
        Identity::Node(format!("aa.authority-{number}").parse().unwrap())
    }

    #[test]
    fn a_callers_connections_share_its_budget_and_callers_share_the_doors() {
        let budget = Budget::new(DESK_BYTES_MAX);
        let (one, two) = (budget.of(&peer(0)), budget.of(&peer(0)));
        let half = one.take_now(CALLER_BYTES_MAX / 2).unwrap();
        let rest = two.take_now(CALLER_BYTES_MAX / 2).unwrap();
        assert!(one.take_now(1).is_none() && two.take_now(1).is_none());
        let others: Vec<_> =
            (1..8).map(|n| budget.of(&peer(n)).take_now(CALLER_BYTES_MAX)).collect();
        assert!(others.iter().all(Option::is_some), "seven more callers have their own");
        assert!(budget.of(&peer(9)).take_now(1).is_none(), "the door's is taken");
        drop((half, rest));
        assert!(budget.of(&peer(9)).take_now(CALLER_BYTES_MAX).is_some());
        assert!(one.take_now(CALLER_BYTES_MAX).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_served_once_others_give_back_and_refused_when_they_do_not() {
        let budget = Budget::new(DESK_BYTES_MAX);
        let allowance = budget.of(&peer(0));
        let held = allowance.take(CALLER_BYTES_MAX).await.unwrap();
        let refused = allowance.take(1).await.err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let (waiting, ()) = tokio::join!(allowance.take(1), async { drop(held) });
        assert!(waiting.is_ok());
    }

    #[test]
    fn the_exchange_door_has_room_for_the_streams_of_a_hundred_peers() {
        let budget = Budget::new(EXCHANGE_BYTES_MAX);
        let deliver = METHODS.iter().find(|method| method.path.ends_with("Deliver")).unwrap();
        let most = deliver.holds_bytes + deliver.message_bytes_max;
        let held: Vec<_> = (0..100).map(|n| budget.of(&peer(n)).take_now(most)).collect();
        assert!(held.iter().all(Option::is_some));
    }

    #[test]
    fn a_caller_that_is_gone_is_forgotten() {
        let budget = Budget::new(DESK_BYTES_MAX);
        for number in 0..100 {
            budget.of(&peer(number));
        }
        let _held = budget.of(&peer(0));
        assert_eq!(budget.callers.lock().unwrap().len(), 1);
    }

    #[test]
    fn every_method_fits_twice_into_a_callers_budget() {
        for method in METHODS {
            let most = method.holds_bytes + COPIES * method.message_bytes_max;
            assert!(
                2 * most <= CALLER_BYTES_MAX || method.path.ends_with("Proof"),
                "{}",
                method.path
            );
            assert!(most <= CALLER_BYTES_MAX, "{}", method.path);
        }
    }
}
