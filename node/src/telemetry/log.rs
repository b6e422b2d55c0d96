//! Log lines on stderr: one for each event, without personal data.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use crate::id::visible;

/// Writes log lines to stderr from now on, for the whole process; only the first call counts.
///
/// # Errors
/// When the process already has a subscriber.
pub fn init_log(log: &Log) -> Result<(), TryInitError> {
    // EnvFilter reads what `LogFilter` accepted; `new` ignores what it does not understand.
    let filter = tracing_subscriber::registry().with(EnvFilter::new(log.filter.as_str()));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr())).with_ansi(false);
    match log.format {
        LogFormat::Text => filter.with(lines).try_init(),
        LogFormat::Json => filter.with(lines.json().flatten_event(true)).try_init(),
    }
}

/// Writes each event as one line, whatever texts it contains: none can forge another line or
/// control a terminal.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.0.write_all(format!("{}\n", visible(text.trim_end_matches('\n'), &[])).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        let mut lines = Lines(Vec::new());
        lines.write_all("INFO ended: no\r\nERROR \u{1b}[31mforged\u{202e}\n".as_bytes()).unwrap();
        lines.write_all(b"INFO next\n").unwrap();
        let written = String::from_utf8(lines.0).unwrap();
        assert_eq!(written, "INFO ended: no��ERROR �[31mforged�\nINFO next\n");
    }
}
