//! The way of every result to standard output, through a pager where it is longer than the
//! terminal.

use std::io::{self, IsTerminal, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use entente_node::command::{Unwritten, write_out};
use rustix::termios::{Winsize, tcgetwinsize};
use tokio::signal::unix::{SignalKind, signal};

use super::table::look;

/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// Narrower than this is no width but a mistake.
const COLUMNS_MIN: usize = 20;

/// Where results go.
enum Out {
    /// To stdout.
    Plain,
    /// Nowhere yet: what may be short enough for the terminal.
    Held(Vec<u8>),
    /// To a pager.
    Pager(Child, ChildStdin),
}

static OUT: Mutex<Out> = Mutex::new(Out::Plain);

fn terminal() -> Option<Winsize> {
    let stdout = io::stdout();
    if stdout.is_terminal() { tcgetwinsize(stdout).ok() } else { None }
}

/// Columns of the terminal; `COLUMNS` says otherwise, or where there is none.
pub fn columns() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let found = terminal().map(|size| match size.ws_col {
        0 => COLUMNS,
        columns => columns.into(),
    });
    said.or(found).map(|columns| columns.max(COLUMNS_MIN))
}

/// From now on what is longer than the terminal goes through a pager.
pub fn page() {
    let mut out = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    if !look().no_pager && io::stdout().is_terminal() && matches!(*out, Out::Plain) {
        *out = Out::Held(vec![]);
    }
}

/// Writes a part of a result.
///
/// # Errors
/// When it did not get where it was to go.
pub fn write(bytes: &[u8]) -> Result<(), Unwritten> {
    let mut out = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *out {
        Out::Plain => write_out(bytes),
        Out::Pager(_, input) => Ok(input.write_all(bytes)?),
        Out::Held(held) => {
            held.extend_from_slice(bytes);
            if fits(held) {
                return Ok(());
            }
            let held = std::mem::take(held);
            match pager() {
                Some((child, mut input)) => {
                    let written = input.write_all(&held);
                    *out = Out::Pager(child, input);
                    Ok(written?)
                }
                None => {
                    *out = Out::Plain;
                    write_out(&held)
                }
            }
        }
    }
}

/// Whether the terminal shows all of it, with a line for the next prompt.
fn fits(held: &[u8]) -> bool {
    let lines = held.iter().filter(|byte| **byte == b'\n').count();
    terminal().is_none_or(|size| size.ws_row == 0 || lines < usize::from(size.ws_row))
}

/// `$PAGER`, or less; none where it is empty or does not start.
fn pager() -> Option<(Child, ChildStdin)> {
    let named = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    if named.is_empty() {
        return None;
    }
    // Without settings of its own less keeps colours, and ends by itself where all fits after all.
    let settings = std::env::var("LESS").unwrap_or_else(|_| "FRX".to_owned());
    let mut command = Command::new("sh");
    command.args(["-c", &named]).env("LESS", settings).stdin(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let input = child.stdin.take()?;
    // Ctrl-C is the pager's from now on; that it is heard is enough, this program ends with it.
    let _ = signal(SignalKind::interrupt());
    Some((child, input))
}

/// The end of all results: waits until the pager was left.
///
/// # Errors
/// As [`write()`].
pub fn end() -> Result<(), Unwritten> {
    let out =
        std::mem::replace(&mut *OUT.lock().unwrap_or_else(PoisonError::into_inner), Out::Plain);
    match out {
        Out::Plain => Ok(()),
        Out::Held(held) => write_out(&held),
        Out::Pager(mut child, input) => {
            drop(input);
            child.wait()?;
            Ok(())
        }
    }
}
