//! How loops and doors learn that the node is stopping.

use std::time::Duration;

use tokio::sync::watch;

/// The right to stop the node; dropping it stops the node too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// A trigger and the first of the listeners, which are cloned from it.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    /// Tells every listener to stop.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// Listens for the end. Every loop has the one shape
/// `while shutdown.tick(interval).await { worker.run_once(now).await }`.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Waits for `interval`; false as soon as the end has begun.
    pub async fn tick(&mut self, interval: Duration) -> bool {
        tokio::time::timeout(interval, self.begun()).await.is_err()
    }

    /// Returns once the end has begun.
    pub async fn begun(&mut self) {
        // An error means that the trigger is gone, which ends the node as well.
        let _ = self.0.wait_for(|begun| *begun).await;
    }

    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_loop_ticks_until_the_end_begins() {
        let (trigger, shutdown) = Trigger::new();
        let mut first = shutdown.clone();
        assert!(first.tick(Duration::from_millis(1)).await);
        assert!(!first.has_begun());
        trigger.begin();
        assert!(!first.tick(LONG).await);
        assert!(!shutdown.clone().tick(LONG).await, "a late listener learns it too");
        assert!(shutdown.has_begun());
    }

    #[tokio::test]
    async fn a_dropped_trigger_ends_the_loops() {
        let (trigger, mut shutdown) = Trigger::new();
        drop(trigger);
        assert!(!shutdown.tick(LONG).await);
        assert!(shutdown.has_begun());
    }
}
