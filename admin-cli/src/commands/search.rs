//! `entente search`: hit or no hit, with the alert's id and the desk to call.

mod values;

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use entente_node::alert::{Exploitation, IdentifierKind, SubjectCategory};
use entente_node::desk::Aim;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::search_response::Message;
use entente_proto::desk::{Hit, Identifier, SearchRequest, SearchSummary};
use serde_json::json;

use crate::output::{Answer, Failure, Outcome, at, table};
use crate::{profile, words};
use values::Values;

pub const EXAMPLES: &str = "Values on the command line end up in the shell's history and in the \
                            list of processes. Values from a file or stdin don't:\n  \
                            entente search --case 2026/17 --offence labour --sought missing \
                            --values - <<END\n  \
                            identifier=passport:DK:P1234567\n  \
                            family=Hansen\n  \
                            given=Anna\n  \
                            birth-date=1990-01-31\n  \
                            END\n\
                            The same as JSON: {\"identifiers\": [\"passport:DK:P1234567\"], \
                            \"family\": \"Hansen\", …, \"birth_date\": \"1990-01-31\"}\n\n\
                            Examples:\n  \
                            entente search --case 2026/17 --offence labour --sought missing \
                            --values person.txt\n  \
                            entente search --case 2026/17 --offence labour --sought missing \
                            --identifier passport:DK:P1234567\n  \
                            entente search --case 2026/17 --offence sexual --sought suspect \
                            --family Hansen --given Anna --birth-date 1990-01-31\n  \
                            entente search --case 2026/18 --offence begging --sought object \
                            --identifier plate:DK:AB12345 --identifier phone:+4520123456";

#[derive(Args)]
pub struct Search {
    /// The reference of the case that the search is for
    #[arg(long = "case", value_name = "REFERENCE")]
    case_ref: String,
    /// The form of exploitation that the case is about
    #[arg(long, value_parser = words::of(Exploitation::ALL, Exploitation::as_str))]
    offence: String,
    /// The category of the person sought, or `object`
    #[arg(long, value_name = "CATEGORY", value_parser = sought())]
    sought: String,
    /// The aim: identify somebody, or get more data about a known person
    #[arg(long, default_value = "identify", value_parser = words::of(&Aim::ALL, Aim::as_str))]
    aim: String,
    /// The file with the values to search for, as JSON or lines of NAME=VALUE; - for stdin; keeps
    /// them out of the shell's history
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// An identifier: TYPE:NUMBER, or TYPE:COUNTRY:NUMBER for one that a country issues;
    /// repeatable
    #[arg(long = "identifier", value_name = "TYPE:NUMBER")]
    identifiers: Vec<String>,
    /// The family name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    family: String,
    /// The given name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    given: String,
    /// The full date of birth, YYYY-MM-DD
    #[arg(long, value_name = "DATE", default_value = "", hide_default_value = true)]
    birth_date: String,
}

impl Search {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        let flags = Values {
            identifiers: self.identifiers,
            family: self.family,
            given: self.given,
            birth_date: self.birth_date,
        };
        let values = match &self.values {
            Some(path) => Values::read(path)?.and(flags)?,
            None => flags,
        };
        let identifiers =
            values.identifiers.iter().map(|text| identifier(text)).collect::<Result<_, _>>()?;
        let request = SearchRequest {
            case_ref: self.case_ref,
            offence: self.offence,
            subject_category: self.sought,
            aim: self.aim,
            identifiers,
            family_name: values.family,
            given_name: values.given,
            birth_date: values.birth_date,
        };
        let mut desk = DeskClient::new(profile::open(as_whom).await?);
        let mut messages = desk.search(request).await?.into_inner();
        let mut hits = Vec::new();
        let mut summary = SearchSummary::default();
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Message::Hit(hit)) => hits.push(hit),
                Some(Message::Summary(last)) => summary = last,
                None => {}
            }
        }
        Ok(shown(&hits, &summary))
    }
}

/// The categories of persons, and `object`.
fn sought() -> PossibleValuesParser {
    let people = SubjectCategory::ALL.iter().map(|category| category.as_str());
    PossibleValuesParser::new(people.chain(["object"]))
}

/// `TYPE:NUMBER`, or `TYPE:COUNTRY:NUMBER` for what a country issues.
fn identifier(text: &str) -> Result<Identifier, Failure> {
    let kinds: Vec<_> = IdentifierKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let usage =
        |message: String| Failure::usage(message).hint(format!("types: {}", kinds.join(", ")));
    let (kind, rest) = text
        .split_once(':')
        .ok_or_else(|| usage(format!("{text} is not TYPE:NUMBER or TYPE:COUNTRY:NUMBER")))?;
    let known: IdentifierKind = kind.parse().map_err(|_| {
        let meant = words::nearest(kind, &kinds).map(|word| format!(", did you mean {word}?"));
        usage(format!("{kind} is not a type of identifier{}", meant.unwrap_or_default()))
    })?;
    let (country, number) = match known.needs_country() {
        true => rest.split_once(':').ok_or_else(|| {
            Failure::usage(format!("{text} lacks the country that issued it"))
                .hint(format!("write {kind}:COUNTRY:NUMBER, e.g. {kind}:DK:{rest}"))
        })?,
        false => ("", rest),
    };
    let (country, number) = (country.to_owned(), number.to_owned());
    Ok(Identifier { r#type: kind.to_owned(), country, number })
}

fn shown(hits: &[Hit], summary: &SearchSummary) -> Answer {
    let json = json!({
        "items": hits.iter().map(|hit| json!({
            "id": hit.id, "version": hit.version, "issuer": hit.issuer, "own": hit.own,
            "quality": hit.quality, "matched": hit.matched, "category": hit.category,
            "action": hit.action, "confirmed": hit.confirmed, "confirmed_at": at(hit.confirmed_at),
            "contact": hit.contact, "subject_categories": hit.subject_categories,
            "non_punishment": hit.non_punishment, "warnings": hit.warnings,
        })).collect::<Vec<_>>(),
        "next": null,
        "more": summary.more,
        "log_entry": summary.log_entry,
        "silent_peers": summary.silent_peers, "unheard_peers": summary.unheard_peers,
    });
    let row = |hit: &Hit| {
        let action = if hit.action.is_empty() { "confirm first" } else { &hit.action };
        vec![
            hit.id.clone(),
            hit.quality.clone(),
            hit.matched.join(", "),
            hit.category.clone(),
            action.to_owned(),
            hit.contact.clone(),
            hit.warnings.join("; "),
        ]
    };
    let mut text = match hits {
        [] => "no hit\n".to_owned(),
        hits => table(
            &["alert", "quality", "matched", "category", "action", "24 h desk", "warnings"],
            hits.iter().map(row).collect(),
        ),
    };
    // Printed below the table, where a narrow terminal can't cut it.
    for hit in hits.iter().filter(|hit| !hit.non_punishment.is_empty()) {
        text += &format!("{}: {}\n", hit.id, hit.non_punishment);
    }
    if summary.more {
        text += "more alerts match than are shown: search for a value that fewer alerts share\n";
    }
    text += &format!("logged as entry {}\n", summary.log_entry);
    if !summary.silent_peers.is_empty() {
        text += &format!(
            "silent peers, whose newest alerts may be missing: {}\n",
            summary.silent_peers.join(", ")
        );
    }
    if !summary.unheard_peers.is_empty() {
        text += &format!(
            "peers not heard since the node started, whose newest alerts may be missing: {}\n",
            summary.unheard_peers.join(", ")
        );
    }
    Answer::new(json, text)
}
