//! `entente alert explain`: the reference of fields.

use entente_node::alert::{self, Explained};
use serde_json::json;

use crate::output::{Answer, Failure, Outcome, list};

/// The narrowest terminal that is supported, in columns.
const COLUMNS: usize = 80;

/// The column at which the words about a field begin in the list of all fields.
const NAME_COLUMNS: usize = 28;

/// The column at which the words about a single field begin.
const LABEL_COLUMNS: usize = 11;

pub fn explain(field: &str) -> Outcome {
    let found = alert::explain(field).map_err(|near| {
        let failure = Failure::usage(format!("there is no field {field}"));
        match near {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint("`entente alert explain` lists all fields"),
        }
    })?;
    let text = match field {
        "" => found.iter().map(|field| row(&field.name, field.means, NAME_COLUMNS)).collect(),
        _ => found.iter().map(whole).collect::<Vec<_>>().join("\n"),
    };
    let json = list(found.into_iter().map(|field| {
        json!({
            "field": field.name, "means": field.means, "form": field.form,
            "example": field.example, "notes": field.notes,
        })
    }));
    Ok(Answer::new(json, text))
}

fn whole(field: &Explained) -> String {
    let mut text = format!("{}\n{}", field.name, row("", field.means, 2));
    text += &row("  form", &field.form, LABEL_COLUMNS);
    text += &row("  example", &field.example, LABEL_COLUMNS);
    field.notes.iter().fold(text, |text, note| text + &row("", note, LABEL_COLUMNS))
}

/// A label, then words from a column on, wrapped for a terminal of 80 columns.
fn row(label: &str, words: &str, column: usize) -> String {
    let mut lines = vec![format!("{label:column$}")];
    let mut open = false;
    for word in words.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if open && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(format!("{:column$}{word}", ""));
            continue;
        }
        if std::mem::replace(&mut open, true) {
            line.push(' ');
        } else if line.chars().count() > column {
            line.push_str("  ");
        }
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}
