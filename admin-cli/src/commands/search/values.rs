//! The values of a search from a file or stdin, so that they stand in no shell history and in no
//! list of processes.

use std::path::Path;

use serde::Deserialize;

use crate::output::Failure;
use crate::{files, words};

/// Names of values, as flags and files have them.
const NAMES: [&str; 4] = ["identifier", "family", "given", "birth-date"];

/// The values as JSON.
const JSON_EXAMPLE: &str = concat!(
    r#"{"identifiers": ["passport:DK:P1234567"], "family": "Hansen", "given": "Anna", "#,
    r#""birth_date": "1990-01-31"}"#,
);

/// What is searched for.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Values {
    /// `TYPE:NUMBER`, or `TYPE:COUNTRY:NUMBER`.
    pub identifiers: Vec<String>,
    /// Family name; empty is none.
    pub family: String,
    /// Given name; empty is none.
    pub given: String,
    /// `YYYY-MM-DD`; empty is none.
    pub birth_date: String,
}

impl Values {
    /// Those of a file, JSON or lines of `NAME=VALUE`; `-` is stdin.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = files::read(path)?;
        let values = match text.trim_start().starts_with('{') {
            true => Self::from_json(&text),
            false => Self::from_lines(&text),
        };
        values.map_err(|failure| failure.within(&path.display().to_string()))
    }

    /// serde's own words may quote a value.
    fn from_json(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::usage(format!("line {line}, column {column} is not as the values are written"))
                .hint(JSON_EXAMPLE)
        })
    }

    fn from_lines(text: &str) -> Result<Self, Failure> {
        let mut values = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                values.take(line).map_err(|failure| failure.within(&format!("line {number}")))?;
            }
        }
        Ok(values)
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        let usage = |message: &str| {
            Failure::usage(message)
                .hint(format!("each line is NAME=VALUE; the names are {}", NAMES.join(", ")))
        };
        let (name, value) = line.split_once('=').ok_or_else(|| usage("this is not NAME=VALUE"))?;
        let (name, value) = (name.trim().replace('_', "-"), value.trim().to_owned());
        let field = match name.as_str() {
            "identifier" => {
                self.identifiers.push(value);
                return Ok(());
            }
            "family" => &mut self.family,
            "given" => &mut self.given,
            "birth-date" => &mut self.birth_date,
            name => {
                let nearest = words::nearest(name, &NAMES);
                let meant = nearest.map(|word| format!(", did you mean {word}?"));
                let meant = meant.unwrap_or_default();
                return Err(usage(&format!("no value of a search has this name{meant}")));
            }
        };
        if !field.is_empty() {
            return Err(usage(&format!("{name} stands here twice")));
        }
        *field = value;
        Ok(())
    }

    /// These, and those of the flags; what stands in both is refused.
    pub fn and(mut self, flags: Self) -> Result<Self, Failure> {
        self.identifiers.extend(flags.identifiers);
        for (name, held, flag) in [
            ("family", &mut self.family, flags.family),
            ("given", &mut self.given, flags.given),
            ("birth-date", &mut self.birth_date, flags.birth_date),
        ] {
            if !held.is_empty() && !flag.is_empty() {
                return Err(Failure::usage(format!(
                    "--{name} is given by a flag and by --values: leave one out"
                )));
            }
            if held.is_empty() {
                *held = flag;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hansen() -> Values {
        Values {
            identifiers: vec!["phone:+4520123456".to_owned(), "passport:DK:P=1".to_owned()],
            family: "Hansen Ü".to_owned(),
            given: "Anna".to_owned(),
            birth_date: "1990-01-31".to_owned(),
        }
    }

    fn parsed(text: &str) -> Result<Values, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values");
        std::fs::write(&path, text).unwrap();
        Values::read(&path).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn values_are_json_or_lines() {
        let json = r#"{"identifiers": ["phone:+4520123456", "passport:DK:P=1"],
            "family": "Hansen Ü", "given": "Anna", "birth_date": "1990-01-31"}"#;
        let lines = "# case 17\r\nidentifier = phone:+4520123456\r\nidentifier=passport:DK:P=1\n\n\
            family=Hansen Ü\ngiven = Anna\nbirth_date=1990-01-31\n";
        for text in [json, lines] {
            assert_eq!(parsed(text).unwrap(), hansen());
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_a_value() {
        for (text, why) in [
            (
                "family=C4nary\nfamly=C4nary",
                "line 2: no value of a search has this name, did you mean family?",
            ),
            ("family=C4nary\nfamily=C4nary", "line 2: family stands here twice"),
            ("C4nary", "line 1: this is not NAME=VALUE"),
            (r#"{"family": ["C4nary"]}"#, "line 1, column"),
            (r#"{"C4nary": "C4nary"}"#, "line 1, column"),
        ] {
            let said = parsed(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("C4nary"), "{said}");
        }
        let twice = hansen().and(Values { given: "C4nary".to_owned(), ..Values::default() });
        assert!(twice.unwrap_err().message().contains("--given"));
    }
}
