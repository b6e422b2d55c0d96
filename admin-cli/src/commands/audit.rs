//! `entente audit`: the log, and the proof that nobody changed it. The auditor's own machine does
//! the checking.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use entente_node::audit::{
    Checkpoint, Compared, Comparison, Entry, Operation, Recorded, claimed_checkpoint,
    verify_checkpoint,
};
use entente_node::id::{AlertId, AuthorityId, Timestamp};
use entente_node::jose::PublicKey;
use entente_node::text;
use entente_node::trust::SignedDescriptor;
use entente_proto::admin::audit_client::AuditClient;
use entente_proto::admin::{CheckpointRequest, CheckpointResponse, ListEntriesRequest};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::output::{Answer, Failure, Format, Items, Outcome, Rows, at, fields, remark, say};
use crate::times::{since, until};
use crate::{files, profile, words};

#[derive(Subcommand)]
pub enum Command {
    /// Lists entries of the audit log
    #[command(after_help = "Examples:\n  \
                            entente audit list --operation disclose --profile auditor\n  \
                            entente audit list --actor k.larsen --since 7d --profile auditor\n  \
                            entente audit list --alert dk.politi:2026-481920375 --format json \
                            --profile auditor")]
    List {
        /// The index of the first entry to list
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// The largest number of entries to list; 0 for no limit
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u64,
        /// Only entries of this operation
        #[arg(long, value_parser = words::of(&Operation::ALL, Operation::as_str))]
        operation: Option<String>,
        /// Only entries about this alert
        #[arg(long, value_name = "ID")]
        alert: Option<AlertId>,
        /// Only entries by this user; `node` for the node itself
        #[arg(long, value_name = "USER", default_value = "", hide_default_value = true)]
        actor: String,
        /// Only entries logged at this time or later
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Timestamp>,
        /// Only entries logged before this time; a day stands for its end
        #[arg(long, value_name = "TIME", value_parser = until)]
        until: Option<Timestamp>,
    },
    /// Recomputes the whole log on this machine and compares it with signed checkpoints
    #[command(
        after_help = "Give the checkpoints you kept, and the authority's descriptor as you trust \
                      it:\n  \
                      entente audit verify --checkpoint monday.jws --checkpoint tuesday.jws \
                      --descriptor dk/descriptor.jws --profile auditor\n\n\
                      A restore that two people approved is in the log, signed: the command warns \
                      of it, and counts checkpoints over entries that it lost separately. Any \
                      other difference is an error (exit code 1)."
    )]
    Verify {
        /// A file with a checkpoint that you kept; repeatable
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// The file with the authority's signed descriptor, which names its log keys; when omitted,
        /// the command trusts the key that the node names
        #[arg(long, value_name = "FILE")]
        descriptor: Option<PathBuf>,
    },
    /// Gets a checkpoint, the signed head of the log; keep it out of the administrators' reach
    #[command(
        after_help = "Example:\n  entente audit checkpoint --out tuesday.jws --profile auditor"
    )]
    Checkpoint {
        /// The file to write; stdout when omitted
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>, format: Format) -> Outcome {
        let mut audit = AuditClient::new(profile::open(as_whom).await?);
        match self {
            Self::List { from, limit, operation, alert, actor, since, until } => {
                let one_more = if limit == 0 { 0 } else { limit.saturating_add(1) };
                let seconds = |time: Option<Timestamp>| time.map_or(0, Timestamp::seconds);
                let asked = ListEntriesRequest {
                    from,
                    limit: one_more,
                    operation: operation.unwrap_or_default(),
                    alert: alert.map(|id| id.to_string()).unwrap_or_default(),
                    actor,
                    since: seconds(since),
                    until: seconds(until),
                };
                list(&mut audit, asked, limit, format).await
            }
            Self::Verify { checkpoints, descriptor } => {
                verify(&mut audit, &checkpoints, descriptor).await
            }
            Self::Checkpoint { out } => {
                let signed = audit.checkpoint(CheckpointRequest {}).await?.into_inner();
                let json = json!({ "checkpoint": signed.checkpoint });
                let Some(path) = out else { return Ok(Answer::new(json, signed.checkpoint)) };
                files::write_new(&path, &format!("{}\n", signed.checkpoint), false)?;
                Ok(Answer::new(json, format!("wrote {}", path.display())))
            }
        }
    }
}

async fn list(
    audit: &mut AuditClient<Channel>,
    asked: ListEntriesRequest,
    limit: u64,
    format: Format,
) -> Outcome {
    let mut entries = audit.list_entries(asked).await?.into_inner();
    let (mut items, mut shown, mut next) = (Items::default(), 0, None);
    let mut rows = (format == Format::Text).then(|| Rows::new(&HEADERS));
    let read = loop {
        match entries.message().await {
            Err(status) => break Err(Failure::from(status)),
            Ok(None) => break Ok(()),
            Ok(Some(entry)) if limit > 0 && shown == limit => {
                next = Some(entry.index);
                break Ok(());
            }
            Ok(Some(entry)) => match Entry::parse(&entry.leaf) {
                Ok(parsed) => match &mut rows {
                    Some(rows) => rows.push(row(&parsed))?,
                    None => items.say_json(&text::from_utf8(entry.leaf).unwrap_or_default())?,
                },
                Err(_) => {
                    break Err(Failure::new(format!("entry {} can't be read", entry.index)));
                }
            },
        }
        shown += 1;
    };
    let facts = json!({ "next": next });
    match (rows, read) {
        (None, Err(failure)) => return Err(items.broken(facts, failure)),
        (None, Ok(())) => items.end(&facts)?,
        (Some(rows), Err(failure)) => return Err(rows.broken(failure)),
        (Some(rows), Ok(())) => {
            rows.end()?;
            if let Some(next) = next {
                say(&format!("there are more: go on with --from {next}, or raise --limit"))?;
            }
        }
    }
    Ok(Answer::said())
}

const HEADERS: [&str; 7] = ["entry", "logged at", "what", "who", "alert", "peer", "facts"];

fn row(entry: &Entry) -> Vec<String> {
    let fact = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        Value::Array(values) if values.len() > 3 => format!("{name}={} of them", values.len()),
        value => format!("{name}={value}"),
    };
    let facts: Vec<String> = entry.facts.iter().map(fact).collect();
    vec![
        entry.index.to_string(),
        entry.at.to_string(),
        entry.kind.clone(),
        entry.actor.clone(),
        entry.alert.as_ref().map(ToString::to_string).unwrap_or_default(),
        entry.peer.as_ref().map(ToString::to_string).unwrap_or_default(),
        facts.join(" "),
    ]
}

/// Recomputes the log from its leaves; nothing the node says about them is believed.
async fn verify(
    audit: &mut AuditClient<Channel>,
    kept: &[PathBuf],
    descriptor: Option<PathBuf>,
) -> Outcome {
    let signed = audit.checkpoint(CheckpointRequest {}).await?.into_inner();
    let trusted = trusted(&signed, descriptor)?;
    let head = checked(&signed.checkpoint, &trusted, "the node's checkpoint")?;
    let mut checkpoints = Vec::new();
    for path in kept {
        checkpoints.push(checked(
            files::read(path)?.trim(),
            &trusted,
            &path.display().to_string(),
        )?);
    }
    let mut comparison = Comparison::with(checkpoints);
    let asked = ListEntriesRequest { limit: head.size, ..ListEntriesRequest::default() };
    let mut entries = audit.list_entries(asked).await?.into_inner();
    while comparison.size() < head.size {
        let entry = entries.message().await?;
        let entry = entry.ok_or_else(|| changed("the log ends before its signed size"))?;
        let key = |kid: &_| trusted.keys.iter().find(|key| key.key_id() == *kid).cloned();
        comparison.push(entry.index, &entry.leaf, key).map_err(|e| changed(e.to_string()))?;
    }
    let compared = comparison.end(&head).map_err(|error| changed(error.to_string()))?;
    for recorded in &compared.restores {
        remark("warning", &restored(recorded));
    }
    Ok(answered(&head, kept.len(), &compared))
}

fn answered(head: &Checkpoint, kept: usize, compared: &Compared) -> Answer {
    let gone = compared.gone.len();
    let mut checkpoints = format!("{} kept ones and the node's own agree", kept - gone);
    if gone > 0 {
        checkpoints += &format!("; {gone} kept ones cover entries that a restore lost");
    }
    let mut pairs = vec![
        ("log", format!("{} entries, none changed, none missing", head.size)),
        ("root", head.root.to_string()),
        ("checkpoints", checkpoints),
    ];
    pairs.extend(compared.restores.iter().map(|recorded| ("restored", restored(recorded))));
    let restores = compared.restores.iter().map(|recorded| {
        let Recorded { restore, by, reason, .. } = recorded;
        json!({
            "restored_at": at(restore.iat), "kept": restore.kept, "old_size": restore.old_size,
            "new_size": restore.new_size, "by": by, "reason": reason,
        })
    });
    let json = json!({
        "ok": true, "size": head.size, "root": head.root, "checkpoints": kept - gone, "gone": gone,
        "restores": restores.collect::<Vec<_>>(),
    });
    Answer::new(json, fields(&pairs))
}

/// Says what a restore did to the log, for people.
fn restored(Recorded { restore, by, reason, .. }: &Recorded) -> String {
    let (first, last) = (restore.kept + 1, restore.old_size);
    let on = Timestamp::from_seconds(restore.iat);
    let entries = format!("restored on {on}; entries {first} to {last} of the old log are gone");
    match by.as_slice() {
        [] => format!(
            "{entries}; a later restore lost its record, and a peer handed the statement back"
        ),
        by => format!("{entries}; approved by {}: {reason}", by.join(" and ")),
    }
}

fn changed(what: impl Into<String>) -> Failure {
    Failure::new(what).hint("the log was changed or cut: keep your checkpoints and report this")
}

/// Takes the keys from the descriptor that the auditor trusts; else the key that the node names,
/// with a remark.
fn trusted(signed: &CheckpointResponse, descriptor: Option<PathBuf>) -> Result<Trusted, Failure> {
    let claimed = claimed_checkpoint(&signed.checkpoint);
    let authority = claimed.map_err(|_| changed("the node gave no checkpoint"))?.iss;
    if let Some(path) = descriptor {
        return trusted_by(&path, authority);
    }
    remark("hint", "without --descriptor this trusts the log key that the node itself names");
    let key = serde_json::from_str(&signed.log_key);
    Ok(Trusted {
        authority,
        keys: vec![key.map_err(|_| Failure::new("the node named no log key"))?],
    })
}

fn trusted_by(path: &Path, node: AuthorityId) -> Result<Trusted, Failure> {
    let shown = path.display();
    let descriptor = SignedDescriptor::parse(files::read(path)?.trim()).map_err(|error| {
        Failure::new(format!("{shown} is not a signed descriptor: {error}"))
            .hint("give the descriptor.jws that you trust, not one that the node handed out")
    })?;
    let said = descriptor.descriptor();
    if said.authority != node {
        let theirs = &said.authority;
        return Err(Failure::new(format!(
            "{shown} is the descriptor of {theirs}, but the node is {node}'s"
        ))
        .hint(format!("give the descriptor of {node}, or the profile of a node of {theirs}")));
    }
    let keys = said.log_keys.iter().map(|dated| dated.key.clone()).collect();
    Ok(Trusted { authority: node, keys })
}

/// Distinguishes a wrong file from a forged checkpoint: only the latter is a finding about the log.
fn checked(jws: &str, trusted: &Trusted, whose: &str) -> Result<Checkpoint, Failure> {
    let claimed = claimed_checkpoint(jws).map_err(|_| {
        Failure::new(format!("{whose} is not a checkpoint"))
            .hint("give files that `entente audit checkpoint --out FILE` wrote")
    })?;
    if claimed.iss != trusted.authority {
        let (theirs, own) = (&claimed.iss, &trusted.authority);
        return Err(Failure::new(format!("{whose} is a checkpoint of {theirs}, not of {own}"))
            .hint(format!("give the checkpoints that you kept of {own}")));
    }
    let verified = trusted.keys.iter().find_map(|key| verify_checkpoint(jws, key).ok());
    verified.ok_or_else(|| {
        Failure::new(format!(
            "{whose} is not signed by a log key that the authority's descriptor names"
        ))
        .hint(
            "the descriptor is older than the log key, or the log was changed: get the newest \
             descriptor from the authority; if the error stays, keep your checkpoints, and report \
             it",
        )
    })
}

/// The authority whose log it must be, and the keys that sign its heads.
struct Trusted {
    authority: AuthorityId,
    keys: Vec<PublicKey>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use entente_node::audit::sign_checkpoint;
    use entente_node::id::{Digest, Entropy};
    use entente_node::jose::SigningKey;

    #[test]
    fn a_wrong_file_is_told_from_a_forged_checkpoint() {
        let key = |seed| SigningKey::generate(&Entropy::seeded(seed));
        let trusted =
            Trusted { authority: "dk.politi".parse().unwrap(), keys: vec![key(1).public()] };
        let signed = |authority: &str, by: SigningKey| {
            let (iss, root) = (authority.parse().unwrap(), Digest::of(b"root"));
            sign_checkpoint(&Checkpoint { iss, size: 3, root, iat: 0 }, &by).unwrap()
        };
        let said = |jws: &str| {
            let failure = checked(jws, &trusted, "kept.jws").map(|checkpoint| checkpoint.size);
            failure.map_err(|failure| format!("{failure:?}"))
        };
        assert_eq!(said(&signed("dk.politi", key(1))), Ok(3));
        for (jws, why) in [
            ("no checkpoint".to_owned(), "is not a checkpoint"),
            (signed("fr.police-judiciaire", key(1)), "a checkpoint of fr.police-judiciaire"),
            (signed("dk.politi", key(2)), "not signed by a log key"),
        ] {
            assert!(said(&jws).unwrap_err().contains(why), "{why}");
        }
    }
}
