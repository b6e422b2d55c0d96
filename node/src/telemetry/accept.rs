//! Failures of a listener to accept: logged once, counted each time.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;

use crate::id::AuthorityId;

/// After this long without a failure the next one is logged again.
const QUIET: Duration = Duration::from_secs(60);

/// How often one listener failed, and whether it was logged.
#[derive(Debug)]
pub struct AcceptFailures {
    authority: AuthorityId,
    door: &'static str,
    last: Option<Instant>,
}

impl AcceptFailures {
    /// For one of the node's listeners: `exchange`, `desk` or `telemetry`.
    pub fn new(authority: AuthorityId, door: &'static str) -> Self {
        Self { authority, door, last: None }
    }

    /// Counts a failure; logs the first, and the next one after a minute without any.
    pub fn failed(&mut self, error: &io::Error) {
        metrics::counter!(
            "entente_door_accept_failures_total",
            "authority" => self.authority.to_string(),
            "door" => self.door,
        )
        .increment(1);
        if self.is_news(Instant::now()) {
            let (door, hint) = (self.door, hint(error));
            tracing::error!(door, "no connection can be accepted now: {error}{hint}");
        }
    }

    fn is_news(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.duration_since(last) > QUIET)
    }
}

fn hint(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            ". This process has as many files and connections open as it may: raise its limit \
             (`ulimit -n`, LimitNOFILE= of its service)"
        }
        Some(Errno::NFILE) => {
            ". This machine has as many files open as it may: raise fs.file-max, or find out who \
             holds them"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_said_once_until_there_was_quiet() {
        let mut failures = AcceptFailures::new("dk.politi".parse().unwrap(), "desk");
        let begun = Instant::now();
        let mut said = 0;
        for tenth in 0..6000 {
            said += u32::from(failures.is_news(begun + Duration::from_millis(100 * tenth)));
        }
        assert_eq!(said, 1, "ten minutes without a descriptor");
        assert!(failures.is_news(begun + Duration::from_secs(600) + 2 * QUIET));
    }

    #[test]
    fn the_hint_goes_by_whose_limit_it_is() {
        let told = |errno: Errno| hint(&io::Error::from(errno));
        assert!(told(Errno::MFILE).contains("ulimit -n"));
        assert!(told(Errno::NFILE).contains("fs.file-max"));
        assert_eq!(told(Errno::CONNABORTED), "");
    }
}
