//! The output of a command: results on stdout as text or JSON, messages on stderr, the exit code.

mod pager;
mod table;

use std::fmt::Write as _;
use std::process::ExitCode;

use entente_node::command::Unwritten;
use entente_node::id::{Timestamp, is_hidden, visible};
use entente_node::reason::Reason;
use serde_json::{Value, json};
use tonic::{Code, Status};

pub use pager::{end, page};
pub use table::{GLOBAL, Look, Rows, set_look, table};

use table::Lines;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object, or one per line when results arrive one by one.
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

    /// Everything was printed as it arrived.
    pub fn said() -> Self {
        Self::new(Value::Null, "")
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`say`].
    pub fn say(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => say_json(&self.json),
            Format::Text => {
                page();
                say(self.text.trim_end_matches('\n'))
            }
        }
    }
}

/// Prints a line on stdout, without characters that control a terminal.
///
/// # Errors
/// When it could not be written: the command then ends, with an error unless its reader went away.
pub fn say(line: &str) -> Result<(), Failure> {
    Ok(pager::write(format!("{}\n", shown(line)).as_bytes())?)
}

/// Prints a value on stdout, on one line; JSON's escapes stand for characters that control a
/// terminal.
///
/// # Errors
/// As [`say`].
pub fn say_json(value: &Value) -> Result<(), Failure> {
    Ok(pager::write(format!("{}\n", escaped(&value.to_string())).as_bytes())?)
}

/// A time for programs: RFC 3339, or null where there is none (0 on the wire).
pub fn at(seconds: i64) -> Value {
    if seconds == 0 { Value::Null } else { Timestamp::from_seconds(seconds).to_string().into() }
}

/// A whole list for programs.
pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    json!({ "items": items.into_iter().collect::<Vec<_>>(), "next": null })
}

/// A list for programs that is written as it arrives: the same envelope as [`list`], with an item
/// on each line, and facts about the whole list at its end.
#[derive(Default)]
pub struct Items {
    begun: bool,
}

impl Items {
    /// The next item.
    ///
    /// # Errors
    /// As [`say`].
    pub fn say(&mut self, item: &Value) -> Result<(), Failure> {
        self.say_json(&item.to_string())
    }

    /// The next item, JSON as it is.
    ///
    /// # Errors
    /// As [`say`].
    pub fn say_json(&mut self, item: &str) -> Result<(), Failure> {
        let before =
            if std::mem::replace(&mut self.begun, true) { ",\n" } else { "{\"items\":[\n" };
        Ok(pager::write(format!("{before}{}", escaped(item)).as_bytes())?)
    }

    /// Ends the list with `next`, where to continue, and other facts about the whole list.
    ///
    /// # Errors
    /// As [`say`].
    pub fn end(self, facts: &Value) -> Result<(), Failure> {
        let facts = escaped(&facts.to_string());
        let facts = facts.trim_start_matches('{');
        let before = if self.begun { "\n]," } else { "{\"items\":[]," };
        Ok(pager::write(format!("{before}{facts}\n").as_bytes())?)
    }

    /// Ends a list that broke off: what was written stays valid JSON, and contains the error.
    pub fn broken(self, facts: Value, failure: Failure) -> Failure {
        let mut facts = facts;
        if let (Some(facts), Value::Object(error)) = (facts.as_object_mut(), failure.json()) {
            facts.extend(error);
        }
        match self.end(&facts) {
            Ok(()) => Failure { told: true, ..failure },
            Err(unwritten) => unwritten,
        }
    }
}

/// The same JSON without characters that control a terminal.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// A message on stderr.
pub fn remark(kind: &str, text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "entente: {kind}: {}", shown(text));
}

/// A text of one or more lines, with `�` for each control, invisible or direction-changing
/// character.
pub fn shown(text: &str) -> String {
    visible(text, &['\n', '\t'])
}

/// A cell of a table: a text from outside must not make a row of its own.
fn cell(text: &str) -> String {
    visible(text, &[])
}

/// Pairs of name and value, one per line; empty values are left out. Long values are wrapped
/// between words.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let indent = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
    pairs.iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut text, pair| {
        let (name, value) = (pair.0, shown(&pair.1));
        let value = match table::width().filter(|width| *width > indent + 20) {
            // Lines that begin with # are comments of a file, which must not be wrapped.
            Some(width) if !name.starts_with('#') => wrapped(&value, indent, width),
            _ => value,
        };
        let _ = writeln!(text, "{name:indent$}{value}");
        text
    })
}

fn wrapped(value: &str, indent: usize, width: usize) -> String {
    let mut lines = Lines::new(indent, width);
    for line in value.lines() {
        line.split_whitespace().for_each(|word| lines.push(word, 1));
        lines.break_line();
    }
    lines.end().trim().to_owned()
}

/// A fault of a draft.
#[derive(Debug)]
pub struct Told {
    /// Where in the draft.
    pub path: String,
    /// Stable, for programs.
    pub reason: String,
    /// What is expected there, with an example.
    pub message: String,
}

impl Told {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "path": self.path, "reason": self.reason, "message": self.message })
    }

    /// For people.
    pub fn text(&self) -> String {
        if self.path.is_empty() {
            return self.message.clone();
        }
        format!("{}: {}", self.path, self.message)
    }
}

impl From<&entente_node::alert::Fault> for Told {
    fn from(fault: &entente_node::alert::Fault) -> Self {
        let (path, reason) = (fault.path.clone(), fault.kind.reason().to_string());
        Self { path, reason, message: fault.said() }
    }
}

/// Exit code where the node was not reached: try again (sysexits' EX_TEMPFAIL).
const UNREACHABLE: u8 = 75;

/// Why a command failed, what to do about it, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    /// The faults of a draft, if they are the reason.
    faults: Vec<Told>,
    hint: Option<String>,
    reason: String,
    code: u8,
    /// Whether the JSON was written already.
    told: bool,
}

/// What a command ends with.
pub type Outcome = Result<Answer, Failure>;

impl Failure {
    /// Refused or failed: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        let (message, reason) = (message.into(), "failed".to_owned());
        Self { message, faults: vec![], hint: None, reason, code: 1, told: false }
    }

    /// The refusal of a draft, with all its faults.
    pub fn faults(reason: impl Into<String>, faults: Vec<Told>) -> Self {
        let message = match faults.len() {
            1 => "1 fault in the draft".to_owned(),
            many => format!("{many} faults in the draft"),
        };
        let hint = "`entente alert explain FIELD` says more about a field";
        Self { faults, reason: reason.into(), ..Self::new(message).hint(hint) }
    }

    /// Wrong usage: exit code 64.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 64, reason: "usage".to_owned(), ..Self::new(message) }
    }

    /// Not reachable, try again: exit code 75.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, reason: "not_reachable".to_owned(), ..Self::new(message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, where the results on stdout already tell it to programs.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// Exit code 1, after everything was printed.
    pub fn silent() -> Self {
        Self::new("")
    }

    /// Exit code 0: the reader of the results has read enough.
    fn unread() -> Self {
        Self { code: 0, ..Self::silent() }
    }

    /// The same failure, with what it happened in, e.g. a file.
    #[must_use]
    pub fn within(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What to do about it, if known.
    pub fn hinted(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the node refused for this reason.
    pub fn is(&self, reason: Reason) -> bool {
        self.reason == reason.as_str()
    }

    /// Whether the node was not reached, or its answer was lost.
    pub fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// Whether there is nothing more to say.
    pub fn is_quiet(&self) -> bool {
        self.message.is_empty()
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let (reason, message, hint) = (&self.reason, &self.message, &self.hint);
        let mut error = json!({ "reason": reason, "message": message, "hint": hint });
        if let (Some(error), false) = (error.as_object_mut(), self.faults.is_empty()) {
            let faults: Vec<Value> = self.faults.iter().map(Told::json).collect();
            error.insert("faults".to_owned(), faults.into());
        }
        json!({ "error": error })
    }

    /// Prints it, and returns the exit code.
    pub fn report(&self, format: Format) -> ExitCode {
        if self.message.is_empty() {
            return ExitCode::from(self.code);
        }
        if format == Format::Json && !self.told {
            // If stdout itself failed, stderr and the exit code still say so.
            let _ = say_json(&self.json());
        }
        remark("error", &self.message);
        for fault in &self.faults {
            remark("fault", &fault.text());
        }
        if let Some(hint) = &self.hint {
            remark("hint", hint);
        }
        ExitCode::from(self.code)
    }
}

/// A connection that ended without the node's word.
enum Lost {
    /// Before the call was answered.
    Unanswered,
    /// In the middle of an answer.
    BrokenOff,
}

impl Lost {
    /// What a node says comes without a cause; a status that our own side made of a broken
    /// connection has one.
    fn of(status: &Status) -> Option<Self> {
        let cause = std::error::Error::source(status)?;
        let before = cause.is::<tonic::transport::Error>();
        Some(if before { Self::Unanswered } else { Self::BrokenOff })
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unanswered => Self::unreachable("the node ended the connection").hint(
                "the profile's endpoint must be the node's desk door, not its exchange door; \
                 where it is, the node was just stopped",
            ),
            Lost::BrokenOff => Self::unreachable("the connection to the node broke off"),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        use tonic_types::StatusExt;
        let reason = status.get_details_error_info().map(|info| info.reason);
        if let Some(bad) = status.get_details_bad_request() {
            let told = bad.field_violations.into_iter().map(|violation| Told {
                path: violation.field,
                reason: violation.reason,
                message: violation.description,
            });
            return Self::faults(reason.unwrap_or_default(), told.collect());
        }
        let message = match status.message() {
            "" => format!("the node answered {:?}", status.code()),
            message => message.to_owned(),
        };
        let failure = match (Lost::of(&status), status.code()) {
            (Some(lost), _) => lost.into(),
            (None, Code::Unavailable | Code::DeadlineExceeded) => Self::unreachable(message),
            (None, Code::Unimplemented) => {
                Self::new("the node does not know this call: it has another version")
            }
            (None, _) => Self::new(message),
        };
        let mut failure = Self { reason: reason.unwrap_or(failure.reason), ..failure };
        // Whoever asks is unknown, not whom they named.
        if failure.is(Reason::UnknownUser) && status.code() == Code::PermissionDenied {
            failure = failure.hint(
                "a user who was added also waits for a coordinator: `entente user approve NAME`",
            );
        }
        failure
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Unwritten> for Failure {
    fn from(error: Unwritten) -> Self {
        match error {
            Unwritten::Closed => Self::unread(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}
