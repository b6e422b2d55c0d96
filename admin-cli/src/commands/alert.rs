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

#[derive(Subcommand)]
pub enum Command {
    /// Prints a draft for a category, with placeholders to replace
    #[command(
        after_help = "Placeholders stand in angle brackets, e.g. \"<family name>\". A draft is \
                      refused until all are replaced.\n\n\
                      Example:\n  \
                      entente alert template missing_protect > draft.json"
    )]
    Template {
        /// The category of the alert
        #[arg(value_parser = words::of(Category::ALL, Category::as_str))]
        category: String,
    },
    /// Checks drafts as the node would, without a node, and names every fault; creates nothing
    #[command(after_help = "Examples:\n  \
                            entente alert check draft.json\n  \
                            entente alert check drafts.jsonl --format json")]
    Check {
        /// The file of drafts: one, one per line, or a JSON array; - for stdin
        file: PathBuf,
    },
    /// Explains the fields of a draft: what each means, its form, and an example
    #[command(after_help = "Examples:\n  \
                            entente alert explain\n  \
                            entente alert explain subjects.identifiers\n  \
                            entente alert explain birth_date")]
    Explain {
        /// The field, as faults name it; all fields when omitted
        #[arg(default_value = "", hide_default_value = true)]
        field: String,
    },
    /// Prints the JSON Schema of a draft, for editors and programs
    #[command(after_help = "Example:\n  entente alert schema > draft.schema.json")]
    Schema,
    /// Creates an alert from a draft
    #[command(after_help = "Example:\n  entente alert create draft.json --profile officer")]
    Create {
        /// The draft (JSON); - for stdin
        file: PathBuf,
        /// Your reason for going on despite a conflict that the node named
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        override_reason: String,
    },
    /// Imports drafts; can be repeated without creating anything twice
    #[command(
        after_help = "The file is UTF-8, with or without a byte-order mark. Lines end with LF, CR \
                      LF or CR.\n\n\
                      Examples:\n  \
                      entente alert import drafts.jsonl --profile officer\n  \
                      entente alert import drafts.jsonl --override-reason 'second case, agreed \
                      with its officer' --profile officer\n  \
                      iconv -f WINDOWS-1254 -t UTF-8 drafts.jsonl | entente alert import - \
                      --profile officer"
    )]
    Import {
        /// The file of drafts: one per line, or a JSON array; - for stdin
        file: PathBuf,
        /// Your reason for going on where an own alert has the same document, VIN or plate
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        override_reason: String,
        /// Creates a new alert where an earlier import of the same draft was withdrawn or expired
        #[arg(long)]
        recreate: bool,
    },
    /// Replaces the content of an own alert
    #[command(after_help = "Example:\n  \
                            entente alert update dk.politi:2026-481920375 draft.json \
                            --expected-version 1 --profile officer")]
    Update {
        /// The id of the alert
        #[arg(value_name = "ALERT")]
        id: String,
        /// The draft with the whole new content (JSON); - for stdin
        file: PathBuf,
        /// The version you have read; the update is refused if the alert has a newer one
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        expected_version: u32,
        /// Your reason for going on despite a conflict that the node named
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        override_reason: String,
    },
    /// Withdraws an own alert for good: erases it here and at every peer
    #[command(after_help = "Example:\n  \
                            entente alert withdraw dk.politi:2026-481920375 --reason 'found safe' \
                            --profile officer")]
    Withdraw {
        /// The id of the alert
        #[arg(value_name = "ALERT")]
        id: String,
        /// The reason for the withdrawal; kept in the audit log, so name nobody
        #[arg(long)]
        reason: String,
    },
    /// Shows the content of an alert
    #[command(after_help = "Examples:\n  \
                            entente alert show fr.police-judiciaire:2026-481920375 --justification \
                            'hit of search 4711' --profile officer\n  \
                            entente alert show fr.police-judiciaire:2026-481920375 --justification \
                            'hit of search 4711' --token alert.jwt --export-reason 'for the \
                            prosecutor, permitted by FR on the phone' --profile officer")]
    Show {
        /// The id of the alert
        #[arg(value_name = "ALERT")]
        id: String,
        /// Your reason for opening the alert; mandatory for another authority's; kept in the audit
        /// log
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        justification: String,
        /// The file to write the signed token to, for `alert verify`; handling code H2 forbids this
        /// export
        #[arg(long, value_name = "FILE")]
        token: Option<PathBuf>,
        /// Your reason for the export; mandatory for another authority's alert with H1 or H3; kept
        /// in the audit log
        #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
        export_reason: String,
    },
    /// Lists alerts, newest change first
    #[command(after_help = list::EXAMPLES)]
    List(list::List),
    /// Shows changes to alerts as they happen, until interrupted
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// Verifies a signed alert against its issuer's descriptor, without a node
    #[command(after_help = "Example:\n  entente alert verify alert.jwt --descriptor dk.descriptor")]
    Verify {
        /// The signed token, as `alert show --token` writes it
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
            Self::List(ref list) => list.check_span()?,
            _ => {}
        }
        let mut desk = DeskClient::new(profile::open(as_whom).await?);
        match self {
            Self::Template { .. }
            | Self::Check { .. }
            | Self::Explain { .. }
            | Self::Schema
            | Self::Verify { .. } => Err(Failure::usage("done already")),
            Self::Create { file, override_reason } => {
                let draft = files::read(&file)?;
                let drafts = draft.lines().filter(|line| line.starts_with('{')).count();
                if drafts > 1 && serde_json::from_str::<Value>(&draft).is_err() {
                    return Err(Failure::new(format!(
                        "{} holds more than one draft",
                        file.display()
                    ))
                    .hint("give several drafts to `entente alert import`"));
                }
                let asked = CreateAlertRequest { draft, override_reason };
                issued(desk.create_alert(asked).await?.into_inner())
            }
            Self::Import { file, override_reason, recreate } => {
                let line = ImportLine { override_reason, recreate, ..ImportLine::default() };
                import::import(as_whom, &file, line, format).await
            }
            Self::Update { id, file, expected_version, override_reason } => {
                let draft = files::read(&file)?;
                let asked = UpdateAlertRequest { id, expected_version, draft, override_reason };
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
        .map_err(|known| Failure::usage(format!("{category} is not a category")).hint(known))?;
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
        ("warnings", alert.warnings.join("; ")),
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
        (false, true) => format!("by its issuer at {}", time(alert.confirmed_at)),
        (false, false) if alert.confirmed_at == 0 => "not since the node started".to_owned(),
        (false, false) => format!("not recently; last at {}", time(alert.confirmed_at)),
    };
    let head = fields(&[
        ("alert", alert.id.clone()),
        ("version", alert.version.to_string()),
        ("expires", time(alert.expires_at)),
        ("confirmed", confirmed),
        ("24 h desk", alert.contact.clone()),
        ("warnings", alert.warnings.join("; ")),
    ]);
    let content = serde_json::to_string_pretty(&content).unwrap_or_default();
    Ok(Answer::new(json, format!("{head}{content}\n")))
}
