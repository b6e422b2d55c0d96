//! `entente alert check`: what the node would say of drafts, without a node.

use std::io::Cursor;
use std::path::Path;

use entente_node::alert::{AlertError, Draft};
use entente_node::id::{Clock, Timestamp};
use entente_node::matching::unsearchable;
use serde_json::{Value, json};

use super::drafts::{Drafts, Found, Place};
use crate::files;
use crate::output::{Answer, Failure, Format, Outcome, Told, list, remark, say_json};

/// The findings about one draft.
struct Checked {
    reason: String,
    faults: Vec<Told>,
    warnings: Vec<String>,
}

pub fn check(file: &Path, format: Format) -> Outcome {
    let (text, now) = (files::read(file)?, Clock::system().now());
    if holds_several(&text) {
        return all(&text, now, format);
    }
    let Checked { reason, faults, warnings } = one(&text, now);
    if !faults.is_empty() {
        return Err(Failure::faults(reason, faults));
    }
    for warning in &warnings {
        remark("warning", warning);
    }
    Ok(Answer::new(json!({ "ok": true, "warnings": warnings }), "the draft is valid"))
}

/// Whether the text holds more than one draft: line by line, or in an array.
fn holds_several(text: &str) -> bool {
    let begun = text.lines().filter(|line| line.starts_with('{')).count();
    text.trim_start().starts_with('[') || begun > 1 && serde_json::from_str::<Value>(text).is_err()
}

fn one(draft: &str, now: Timestamp) -> Checked {
    let refused = match Draft::parse(draft, now) {
        Ok(draft) => {
            let warnings = unsearchable(draft.content());
            return Checked { reason: String::new(), faults: vec![], warnings };
        }
        Err(refused) => refused,
    };
    let reason = refused.reason().to_string();
    let faults = match &refused {
        AlertError::Content(faults) => faults.as_slice().iter().map(Told::from).collect(),
        other => {
            let (path, message) = (String::new(), other.to_string());
            vec![Told { path, reason: reason.clone(), message }]
        }
    };
    Checked { reason, faults, warnings: vec![] }
}

fn all(text: &str, now: Timestamp, format: Format) -> Outcome {
    let mut drafts = Drafts::new(Cursor::new(text.as_bytes()))?;
    let (mut items, mut valid) = (Vec::new(), 0);
    while let Some((place, found)) = drafts.take()? {
        let checked = match found {
            Found::Draft(draft) => one(&draft, now),
            Found::Unfit(reason, message) => {
                let (path, reason) = (String::new(), reason.to_owned());
                let faults = vec![Told { path, reason: reason.clone(), message }];
                Checked { reason, faults, warnings: vec![] }
            }
        };
        valid += usize::from(checked.faults.is_empty());
        if format == Format::Text {
            tell(place, &checked);
        }
        items.push(json!({
            "draft": place.draft, "line": place.line, "ok": checked.faults.is_empty(),
            "faults": checked.faults.iter().map(Told::json).collect::<Vec<_>>(),
            "warnings": checked.warnings,
        }));
    }
    let bad = items.len() - valid;
    let text = format!("drafts: {valid} valid, {bad} with faults");
    let answer = Answer::new(list(items), text);
    if bad == 0 {
        return Ok(answer);
    }
    if format == Format::Json {
        say_json(&answer.json)?;
        return Err(Failure::silent());
    }
    Err(Failure::new(answer.text))
}

fn tell(place: Place, checked: &Checked) {
    for fault in &checked.faults {
        remark("fault", &format!("line {}: {}", place.line, fault.text()));
    }
    for warning in &checked.warnings {
        remark("warning", &format!("line {}: {warning}", place.line));
    }
}
