//! `entente-node upgrade`: what people see of it.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::{say, tell};
use crate::home;
use crate::id::{Clock, Entropy};
use crate::store::{Progress, SCHEMA_VERSION, UPGRADE_RECORDS_AT_ONCE, Upgrade};

/// Upgrades the store of a home; says what it does on stderr, and how it ended on stdout.
pub(super) fn upgrade(home: &Path) -> anyhow::Result<()> {
    let mut shown = Shown { home, at: None, bar: ProgressBar::hidden() };
    let whole = Upgrade::Whole {
        records_at_once: UPGRADE_RECORDS_AT_ONCE,
        told: &mut |progress| shown.show(progress),
    };
    home::upgrade(home, Clock::system(), Entropy::os(), whole)?;
    shown.bar.finish_and_clear();
    say(&match shown.at {
        None => format!("nothing to do: the store has schema {SCHEMA_VERSION} already"),
        Some(_) => format!(
            "upgraded to schema {SCHEMA_VERSION}. Start the node, and keep the backup until you \
             are content with it"
        ),
    })?;
    Ok(())
}

/// What was shown last.
struct Shown<'a> {
    home: &'a Path,
    /// Number of the step.
    at: Option<usize>,
    bar: ProgressBar,
}

impl Shown<'_> {
    fn show(&mut self, progress: &Progress) {
        if self.at.is_none() {
            self.warn(progress);
        }
        if self.at != Some(progress.step) {
            self.bar.finish_and_clear();
            tell(&format!("step {} of {}: {}", progress.step, progress.steps, progress.what));
            self.at = Some(progress.step);
            self.bar = bar();
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
    }

    /// Before anything is written: there is no way back but a backup.
    fn warn(&self, progress: &Progress) {
        let by = match progress.program.as_str() {
            "" => "an earlier version".to_owned(),
            program => format!("version {program}"),
        };
        tell(&format!(
            "The store was written by {by}, which can't read it any more once it is upgraded.\n\
             Have a backup of {}, made while no node ran. An upgrade that is ended goes on from \
             there when it is run again.",
            self.home.display()
        ));
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            tell("Press Enter to begin, Ctrl-C to leave everything as it is.");
            // Whoever closed the input has not said no.
            let _ = io::stdin().read_line(&mut String::new());
        }
    }
}

/// A bar where somebody looks.
pub(super) fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}% {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
