//! `entente alert`: own alerts, and those that peers share.

mod check;
mod drafts;
mod explain;
mod import;
mod list;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::Subcommand;
use entente_node::alert::{self, Category, Draft};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{
    Alert, CreateAlertRequest, GetAlertRequest, ImportLine, UpdateAlertRequest,
    WithdrawAlertRequest,
};
use serde_json::{Value, json};

use super::node::time;
use crate::output::{Answer, Failure, Format, Outcome, at, fields};
use crate::{files, profile, words};

/// Why a node ends a stream that may be opened again at once: it looks at certificates anew.
const TOO_OLD: &str = "stream_too_old";

#[derive(Subcommand)]
pub enum Command {
    /// Prints a draft of a category, with placeholders to replace
    #[command(
        after_help = "A placeholder stands in angle brackets, as \"<family name>\"; no draft is \
                      taken before each is replaced.\n\n\
                      Example:\n  \
                      entente alert template missing_protect > draft.json"
    )]
    Template {
        /// Of which category
        #[arg(value_parser = words::of(Category::ALL, Category::as_str))]
        category: String,
    },
    /// Checks drafts as the node will, without a node: every fault at once, nothing is created
    #[command(after_help = "Examples:\n  \
                            entente alert check draft.json\n  \
                            entente alert check drafts.jsonl --format json")]
    Check {
        /// A draft, drafts line by line or in one array, or - for stdin
        file: PathBuf,
    },
    /// Explains the fields of a draft: what each means, its form, and an example
    #[command(after_help = "Examples:\n  \
                            entente alert explain\n  \
                            entente alert explain subjects.identifiers\n  \
                            entente alert explain birth_date")]
    Explain {
        /// A field, as a fault names it; all when left out
        #[arg(default_value = "", hide_default_value = true)]
        field: String,
    },
    /// Prints the JSON Schema of a draft, for editors and programs
    #[command(after_help = "Example:\n  entente alert schema > draft.schema.json")]
    Schema,
    /// Creates an alert from a draft
    #[command(after_help = "Example:\n  entente alert create draft.json --profile officer")]
    Create {
        /// The draft, JSON, or - for stdin
        file: PathBuf,
        /// Your reason to go on, where the node asked for one
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        confirm: String,
    },
    /// Imports drafts, JSON Lines or a JSON array; can be repeated without creating anything twice
    #[command(
        after_help = "The file is UTF-8, with or without a byte-order mark; LF, CR LF and CR end a \
                      line.\n\n\
                      Examples:\n  \
                      entente alert import drafts.jsonl --profile officer\n  \
                      entente alert import drafts.jsonl --confirm 'second case, agreed with its \
                      officer' --profile officer\n  \
                      iconv -f WINDOWS-1254 -t UTF-8 drafts.jsonl | entente alert import - \
                      --profile officer"
    )]
    Import {
        /// The drafts, one a line or all in one array, or - for stdin
        file: PathBuf,
        /// Your reason to go on where an own alert has the same document, VIN or plate
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        confirm: String,
        /// Makes a new alert where the one that a line made before was withdrawn or expired
        #[arg(long)]
        again: bool,
    },
    /// Replaces the content of an own alert
    #[command(after_help = "Example:\n  \
                            entente alert update dk.politi:2026-481920375 draft.json --version 1 \
                            --profile officer")]
    Update {
        /// The alert
        id: String,
        /// The whole new content, JSON, or - for stdin
        file: PathBuf,
        /// The version you looked at; refused if it has moved on
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        version: u32,
        /// Your reason to go on, where the node asked for one
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        confirm: String,
    },
    /// Withdraws an own alert for good: it is erased here and at every peer
    #[command(after_help = "Example:\n  \
                            entente alert withdraw dk.politi:2026-481920375 --reason 'found safe' \
                            --profile officer")]
    Withdraw {
        /// The alert
        id: String,
        /// Why; stays in this node's log, so name nobody
        #[arg(long)]
        reason: String,
    },
    /// Opens an alert
    #[command(after_help = "Examples:\n  \
                            entente alert show fr.police-judiciaire:2026-481920375 --justification \
                            'hit of search 4711' --profile officer\n  \
                            entente alert show fr.police-judiciaire:2026-481920375 --justification \
                            'hit of search 4711' --token alert.jwt --export-reason 'for the \
                            prosecutor, permitted by FR on the phone' --profile officer")]
    Show {
        /// The alert
        id: String,
        /// Why; mandatory for another authority's alert, stays in this node's log
        #[arg(long, default_value = "", hide_default_value = true)]
        justification: String,
        /// Also writes the signed token, for `alert verify`: an export, which H2 bars
        #[arg(long, value_name = "FILE")]
        token: Option<PathBuf>,
        /// Why it is exported; mandatory where another authority's alert has H1 or H3, stays in
        /// this node's log
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        export_reason: String,
    },
    /// Lists alerts, those first that changed last
    #[command(after_help = list::EXAMPLES)]
    List(list::List),
    /// Says what becomes visible here, until interrupted
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// Verifies a signed alert without a node, with its issuer's descriptor
    #[command(after_help = "Example:\n  entente alert verify alert.jwt --descriptor dk.descriptor")]
    Verify {
        /// The token, as `alert show --token` writes it
        file: PathBuf,
        /// The issuer's signed descriptor
        #[arg(long, value_name = "FILE")]
        descriptor: PathBuf,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>, format: Format) -> Outcome {
        match self {
            Self::Template { category } => return template(&category),
            Self::Check { file } => return check::check(&file, format),
            Self::Explain { field } => return explain::explain(&field),
            Self::Schema => return schema(),
            Self::Verify { file, descriptor } => return verify::verify(&file, &descriptor),
            _ => {}
        }
        let mut desk = DeskClient::new(profile::open(as_whom).await?);
        match self {
            Self::Template { .. }
            | Self::Check { .. }
            | Self::Explain { .. }
            | Self::Schema
            | Self::Verify { .. } => Err(Failure::usage("done already")),
            Self::Create { file, confirm } => {
                let draft = files::read(&file)?;
                let drafts = draft.lines().filter(|line| line.starts_with('{')).count();
                if drafts > 1 && serde_json::from_str::<Value>(&draft).is_err() {
                    return Err(Failure::new(format!(
                        "{} holds more than one draft",
                        file.display()
                    ))
                    .hint("drafts line by line go to `entente alert import`"));
                }
                let asked = CreateAlertRequest { draft, confirmation: confirm };
                issued(desk.create_alert(asked).await?.into_inner())
            }
            Self::Import { file, confirm, again } => {
                let line = ImportLine { confirmation: confirm, again, ..ImportLine::default() };
                import::import(as_whom, &file, line, format).await
            }
            Self::Update { id, file, version, confirm } => {
                let draft = files::read(&file)?;
                let (expected_version, confirmation) = (version, confirm);
                let asked = UpdateAlertRequest { id, expected_version, draft, confirmation };
                issued(desk.update_alert(asked).await?.into_inner())
            }
            Self::Withdraw { id, reason } => {
                let asked = WithdrawAlertRequest { id, reason };
                issued(desk.withdraw_alert(asked).await?.into_inner())
            }
            Self::Show { id, justification, token, export_reason } => {
                let export = token.is_some();
                let asked = GetAlertRequest { id, justification, export, export_reason };
                let alert = desk.get_alert(asked).await?.into_inner();
                if let Some(path) = token {
                    files::write_new(&path, &alert.token, true)?;
                }
                shown(&alert)
            }
            Self::List(list) => list.run(desk, format).await,
            Self::Watch(watch) => watch.run(as_whom, format).await,
        }
    }
}

fn template(category: &str) -> Outcome {
    let category: Category = category
        .parse()
        .map_err(|known| Failure::usage(format!("{category} is no category")).hint(known))?;
    let draft = Draft::template(category);
    let json = serde_json::from_str(&draft).unwrap_or_default();
    Ok(Answer::new(json, draft))
}

fn schema() -> Outcome {
    let schema = alert::schema();
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    Ok(Answer::new(schema, text))
}

fn issued(alert: Alert) -> Outcome {
    let json = json!({
        "id": alert.id, "version": alert.version, "state": alert.state, "warnings": alert.warnings,
    });
    let text = fields(&[
        ("alert", alert.id),
        ("version", alert.version.to_string()),
        ("state", alert.state),
        ("beware", alert.warnings.join("; ")),
    ]);
    Ok(Answer::new(json, text))
}

fn shown(alert: &Alert) -> Outcome {
    let content: Value = serde_json::from_str(&alert.content).unwrap_or_default();
    let json = json!({
        "id": alert.id, "version": alert.version, "state": alert.state, "own": alert.own,
        "category": alert.category, "content": content, "claims": alert.claims,
        "confirmed": alert.confirmed, "confirmed_at": at(alert.confirmed_at),
        "contact": alert.contact,
        "warnings": alert.warnings, "token_withheld": alert.token_withheld, "gap": alert.gap,
        "expires_at": at(alert.expires_at),
    });
    let confirmed = match (alert.own, alert.confirmed) {
        (true, _) => "own alert".to_owned(),
        (false, true) => format!("by its issuer, {}", time(alert.confirmed_at)),
        (false, false) if alert.confirmed_at == 0 => "not since the node started".to_owned(),
        (false, false) => format!("not lately: {}", time(alert.confirmed_at)),
    };
    let head = fields(&[
        ("alert", alert.id.clone()),
        ("version", alert.version.to_string()),
        ("ends", time(alert.expires_at)),
        ("confirmed", confirmed),
        ("24 h desk", alert.contact.clone()),
        ("beware", alert.warnings.join("; ")),
    ]);
    let content = serde_json::to_string_pretty(&content).unwrap_or_default();
    Ok(Answer::new(json, format!("{head}{content}\n")))
}
