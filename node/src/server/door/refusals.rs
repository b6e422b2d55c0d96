//! Refused handshakes in the log: counted, with at most one line a second for each source.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::room::Source;
use super::shake::Unfinished;
use crate::id::AuthorityId;

/// Time between two lines about one source.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Most sources with lines of their own at one time; the others are counted together.
const SOURCES_MAX: usize = 64;

/// Most reasons that one line distinguishes: a stranger may claim a new name each time.
const REASONS_MAX: usize = 4;

/// Counts and logs what one door refused.
#[derive(Clone)]
pub(super) struct Refusals {
    door: &'static str,
    authority: AuthorityId,
    heard: Arc<Mutex<Heard>>,
}

impl Refusals {
    pub(super) fn new(door: &'static str, authority: AuthorityId) -> Self {
        Self { door, authority, heard: Arc::default() }
    }

    pub(super) fn note(&self, source: Source, why: &Unfinished) {
        metrics::counter!(
            "entente_handshakes_refused_total",
            "authority" => self.authority.to_string(),
            "door" => self.door,
            "reason" => why.kind(),
        )
        .increment(1);
        if matches!(why, Unfinished::WentAway) {
            tracing::debug!(door = self.door, from = %source, "a caller went away");
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = heard.note(source, why.to_string(), Instant::now()) {
            self.tell(&line);
        }
    }

    /// Logs what was counted since the last line, until it is dropped.
    pub(super) async fn tell_what_was_counted(&self) {
        loop {
            tokio::time::sleep(LINE_INTERVAL).await;
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            for line in heard.due(Instant::now()) {
                self.tell(&line);
            }
        }
    }

    fn tell(&self, line: &Line) {
        let (door, count, from) = (self.door, line.count, &line.from);
        tracing::info!(door, from, count, "handshakes were refused: {}", line.reasons);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    from: String,
    count: u64,
    reasons: String,
}

/// What came since the last line.
struct Count {
    since: Instant,
    reasons: Vec<(String, u64)>,
    other_reasons: u64,
}

impl Count {
    fn new(since: Instant) -> Self {
        Self { since, reasons: Vec::new(), other_reasons: 0 }
    }

    fn add(&mut self, reason: String) {
        let room = self.reasons.len() < REASONS_MAX;
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None if room => self.reasons.push((reason, 1)),
            None => self.other_reasons += 1,
        }
    }

    fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    fn line(&self, from: impl fmt::Display) -> Line {
        let count = self.reasons.iter().map(|(_, count)| count).sum::<u64>() + self.other_reasons;
        let told = |(reason, count): &(String, u64)| format!("{reason} ({count})");
        let mut reasons: Vec<_> = self.reasons.iter().map(told).collect();
        if self.other_reasons > 0 {
            reasons.push(format!("other reasons ({})", self.other_reasons));
        }
        Line { from: from.to_string(), count, reasons: reasons.join("; ") }
    }
}

#[derive(Default)]
struct Heard {
    /// Counts by source; `None` stands for all sources for which there was no room.
    of: HashMap<Option<Source>, Count>,
}

impl Heard {
    /// Logs the first refusal of a source at once.
    fn note(&mut self, source: Source, reason: String, now: Instant) -> Option<Line> {
        let known = self.of.contains_key(&Some(source)) || self.of.len() < SOURCES_MAX;
        let source = known.then_some(source);
        if let Some(count) = self.of.get_mut(&source) {
            count.add(reason);
            return None;
        }
        self.of.insert(source, Count::new(now));
        let mut first = Count::new(now);
        first.add(reason);
        Some(first.line(name(source)))
    }

    /// The lines that are due; forgets sources without new refusals.
    fn due(&mut self, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.of.retain(|source, count| {
            if now.duration_since(count.since) < LINE_INTERVAL {
                return true;
            }
            if count.is_empty() {
                return false;
            }
            lines.push(count.line(name(*source)));
            *count = Count::new(now);
            true
        });
        lines
    }
}

fn name(source: Option<Source>) -> String {
    source.map_or_else(|| "other sources".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(number: u32) -> Source {
        IpAddr::from(Ipv4Addr::from(0xc000_0200 + number)).into()
    }

    #[tokio::test]
    async fn a_source_has_at_most_one_line_a_second() {
        let mut heard = Heard::default();
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let mut lines = Vec::new();
        for step in 0..3000 {
            lines.extend(heard.note(source(7), "too late".to_owned(), at(step)));
            if step % 100 == 0 {
                lines.extend(heard.due(at(step)));
            }
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
        lines.extend(heard.due(at(4000)));
        assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), 3000, "each is counted");
        assert_eq!(lines[0].reasons, "too late (1)");
        assert!(heard.due(at(5000)).is_empty());
        assert!(heard.of.is_empty(), "and forgotten");
    }

    #[tokio::test]
    async fn what_a_stranger_makes_the_log_hold_is_bounded() {
        let mut heard = Heard::default();
        let now = Instant::now();
        for number in 0..100_000 {
            heard.note(source(number), format!("se.name{number} is unknown"), now);
            heard.note(source(0), format!("se.name{number} is unknown"), now);
        }
        assert_eq!(heard.of.len(), SOURCES_MAX + 1);
        let lines = heard.due(now + LINE_INTERVAL);
        assert!(lines.len() <= SOURCES_MAX + 1);
        assert!(lines.iter().all(|line| line.reasons.len() < 300), "{lines:?}");
        let others = lines.iter().find(|line| line.from == "other sources").unwrap();
        assert_eq!(others.count, 100_000 - SOURCES_MAX as u64 - 1);
    }
}
