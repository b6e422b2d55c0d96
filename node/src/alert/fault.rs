//! What is wrong with an alert: every fault with its place, what is expected there, and an example.
//! None holds a value that was given.

use crate::reason::Reason;
use std::fmt;

use super::AlertError;

/// Most faults of one alert that are listed: somebody with more corrects these first.
const FAULTS_MAX: usize = 32;

/// Most faults in one sentence; the list has all.
const FAULTS_IN_A_SENTENCE: usize = 3;

/// What kind of fault it is: stable, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A name is unknown, or a value has the wrong form.
    Malformed,
    /// A value is not permitted in its field.
    Value,
    /// A placeholder of a template.
    Placeholder,
    /// A mandatory field is missing.
    Missing,
    /// The category of the alert or of the person does not permit it.
    NotPermitted,
}

impl FaultKind {
    /// Stable and machine-readable.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::JsonMalformed,
            Self::Value => Reason::ValueNotPermitted,
            Self::Placeholder => Reason::Placeholder,
            Self::Missing => Reason::ClaimMissing,
            Self::NotPermitted => Reason::ClaimNotPermitted,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, e.g. `subjects[0].identifiers[1]`.
    pub path: String,
    /// What kind of fault.
    pub kind: FaultKind,
    /// What is expected there.
    pub expected: String,
    /// A value that would be accepted, as JSON; empty if none helps.
    pub example: String,
}

impl Fault {
    /// What is expected, with the example.
    pub fn said(&self) -> String {
        let Self { expected, example, .. } = self;
        if example.is_empty() { expected.clone() } else { format!("{expected}, e.g. {example}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.said())
    }
}

/// A place in an alert.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The alert itself.
    Root,
    /// A member.
    Member(&'a Self, &'a str),
    /// An element of a list.
    Element(&'a Self, usize),
}

impl<'a> Path<'a> {
    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    pub(super) fn element(&'a self, number: usize) -> Self {
        Self::Element(self, number)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Path::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(list, number) => write!(f, "{list}[{number}]"),
        }
    }
}

/// All faults of one alert, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    found: Vec<Fault>,
    more: usize,
    /// Elements that were removed from a list, by its path and their place in the input.
    dropped: Vec<(String, usize)>,
}

impl Faults {
    /// The faults to list: at most 32.
    pub fn as_slice(&self) -> &[Fault] {
        &self.found
    }

    /// How many there are in all.
    pub fn count(&self) -> usize {
        self.found.len() + self.more
    }

    /// The reason of the first fault: stable and machine-readable.
    pub fn reason(&self) -> Reason {
        self.found.first().map_or(Reason::ValueNotPermitted, |fault| fault.kind.reason())
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the checked value if there are no faults.
    pub(super) fn or<T>(self, checked: T) -> Result<T, AlertError> {
        if self.is_empty() { Ok(checked) } else { Err(AlertError::Content(self)) }
    }

    pub(super) fn add(
        &mut self,
        path: Path<'_>,
        kind: FaultKind,
        expected: impl Into<String>,
        example: impl Into<String>,
    ) {
        if self.found.len() >= FAULTS_MAX {
            self.more += 1;
            return;
        }
        let (path, expected, example) = (path.to_string(), expected.into(), example.into());
        self.found.push(Fault { path, kind, expected, example });
    }

    /// Notes a missing field, unless its place, or one above or below it, has a fault already.
    pub(super) fn missing(
        &mut self,
        path: Path<'_>,
        expected: impl Into<String>,
        example: impl Into<String>,
    ) {
        let missing = path.to_string();
        let within = |whole: &str, part: &str| {
            part.strip_prefix(whole)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let known = self
            .found
            .iter()
            .any(|fault| within(&missing, &fault.path) || within(&fault.path, &missing));
        if !known {
            self.add(path, FaultKind::Missing, expected, example);
        }
    }

    /// Notes that an element was removed from a list.
    pub(super) fn drop_element(&mut self, list: Path<'_>, number: usize) {
        self.dropped.push((list.to_string(), number));
    }

    /// The place that an element of a list had before faulty ones were removed.
    pub(super) fn place(&self, list: Path<'_>, number: usize) -> usize {
        if self.dropped.is_empty() {
            return number;
        }
        let list = list.to_string();
        let dropped = self.dropped.iter().filter(|(path, _)| *path == list);
        dropped.fold(number, |place, (_, dropped)| place + usize::from(*dropped <= place))
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { found: vec![fault], ..Self::default() }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> =
            self.found.iter().take(FAULTS_IN_A_SENTENCE).map(ToString::to_string).collect();
        let count = self.count();
        if count > 1 {
            write!(f, "{count} faults: ")?;
        }
        f.write_str(&told.join("; "))?;
        match count - told.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
