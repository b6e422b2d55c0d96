//! What a command says: results on stdout as text or JSON, messages on stderr, and the exit code.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use entente_node::id::visible;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one object, or one a line where results arrive one by one.
    Json,
}

/// A result in both forms.
pub struct Answer {
    /// For programs.
    pub json: Value,
    /// For people.
    pub text: String,
}

impl Answer {
    /// From both forms.
    pub fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into() }
    }

    /// Writes it.
    pub fn say(&self, format: Format) {
        match format {
            Format::Json => say(&self.json.to_string()),
            Format::Text => say(self.text.trim_end_matches('\n')),
        }
    }
}

/// A line on stdout, without what would steer a terminal. A closed stdout ends nothing but the writing.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{}", shown(line));
}

/// Bytes on stdout as they are. A closed stdout ends nothing but the writing.
pub fn write(bytes: &[u8]) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// A message on stderr.
pub fn remark(kind: &str, text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "entente: {kind}: {}", shown(text));
}

/// What a command says, of several lines where it has them, with `�` for each character that steers, hides or turns.
pub fn shown(text: &str) -> String {
    visible(text, &['\n', '\t'])
}

/// A cell of a table: a text from outside makes no row of its own.
fn cell(text: &str) -> String {
    visible(text, &[])
}

/// A table for people.
pub fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "nothing\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers.iter().copied());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.add_rows(
        rows.into_iter().map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>()),
    );
    format!("{table}\n")
}

/// Pairs of name and value, one a line; empty values are left out.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    pairs.iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut text, pair| {
        let _ = writeln!(text, "{:width$}  {}", pair.0, shown(&pair.1));
        text
    })
}

/// Why a command failed, with what to do, and its exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    reason: String,
    code: u8,
}

/// Done with nothing more to say than what was said.
pub type Outcome = Result<Answer, Failure>;

impl Failure {
    /// Refused or failed: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, reason: "failed".to_owned(), code: 1 }
    }

    /// Wrong usage: exit code 64.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 64, reason: "usage".to_owned(), ..Self::new(message) }
    }

    /// Not reachable, try again: exit code 75.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: 75, reason: "not_reachable".to_owned(), ..Self::new(message) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Exit code 1, with everything said already.
    pub fn silent() -> Self {
        Self::new("")
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it, and gives the exit code.
    pub fn report(&self, format: Format) -> ExitCode {
        if self.message.is_empty() {
            return ExitCode::from(self.code);
        }
        if format == Format::Json {
            say(&json!({ "ok": false, "reason": self.reason, "error": self.message }).to_string());
        }
        remark("error", &self.message);
        if let Some(hint) = &self.hint {
            remark("hint", hint);
        }
        ExitCode::from(self.code)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        use tonic_types::StatusExt;
        let reason = status.get_details_error_info().map(|info| info.reason);
        let message = match status.message() {
            "" => format!("the node answered {:?}", status.code()),
            message => message.to_owned(),
        };
        let failure = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Self::unreachable(message),
            // A node that died in the middle of an answer says no more.
            Code::Unknown | Code::Internal if message.starts_with("h2 protocol error") => {
                Self::unreachable("the connection to the node broke off".to_owned())
            }
            Code::Unimplemented => {
                Self::new("the node does not know this call: it has another version")
            }
            _ => Self::new(message),
        };
        let failure = match reason.as_deref() {
            Some("unknown_user") => failure.hint(
                "a user who was added also waits for a coordinator: `entente user approve NAME`",
            ),
            None if ["transport error", "not connected"].contains(&failure.message()) => failure.hint(
                "the node ended the connection: the profile's endpoint must be its desk door, not its exchange door",
            ),
            _ => failure,
        };
        Self { reason: reason.unwrap_or(failure.reason), ..failure }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}
