//! `entente policy`: who sees what.

use std::path::PathBuf;

use clap::Subcommand;
use entente_node::policy::Policy;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    ApplyPolicyRequest, ApplyPolicyResponse, ApprovePolicyRequest, ExplainPolicyRequest,
    Policy as Shown, ShowPolicyRequest,
};
use serde_json::json;

use super::node::time;
use crate::output::{Answer, Failure, Outcome, at, fields, remark};
use crate::{files, profile};

#[derive(Subcommand)]
pub enum Command {
    /// Checks a policy file without a node
    #[command(after_help = "Example:\n  entente policy check policy.toml")]
    Check {
        /// The policy, TOML
        file: PathBuf,
    },
    /// Shows the policy in force, an earlier one, or one that waits for a coordinator
    #[command(after_help = "Examples:\n  \
                            entente policy show --profile auditor\n  \
                            entente policy show --proposal 42 --profile coordinator")]
    Show {
        /// An earlier version
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        version: u64,
        /// One that waits, by its number: its text, and what it would change
        #[arg(long, value_name = "NUMBER", conflicts_with = "version")]
        proposal: Option<u64>,
    },
    /// Puts a policy in force; what may widen disclosure waits for a coordinator
    #[command(after_help = "Examples:\n  \
                            entente policy apply policy.toml --dry-run --profile administrator\n  \
                            entente policy apply policy.toml --profile administrator")]
    Apply {
        /// The policy, TOML
        file: PathBuf,
        /// Only says what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Approves a policy that waits, as a second person
    #[command(after_help = "Example:\n  entente policy approve 42 --profile coordinator")]
    Approve {
        /// The number that `policy apply` gave
        proposal: u64,
    },
    /// Says what a peer gets of an alert, and which rule decides; names of claims, never values
    #[command(after_help = "Example:\n  \
                            entente policy explain dk.politi:2026-481920375 fr.police-judiciaire \
                            --profile administrator")]
    Explain {
        /// The alert
        alert: String,
        /// The peer
        peer: String,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        if let Self::Check { file } = &self {
            let policy = Policy::parse(&files::read(file)?)
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            let rules = policy.rules().len();
            return Ok(Answer::new(
                json!({ "rules": rules }),
                format!("{rules} rules, all of them sound"),
            ));
        }
        let mut admin = AdminClient::new(profile::open(as_whom).await?);
        match self {
            Self::Check { .. } => Err(Failure::usage("checked already")),
            Self::Show { version, proposal } => {
                let policy = admin.show_policy(ShowPolicyRequest { version }).await?.into_inner();
                if let Some(number) = proposal {
                    return proposed(&policy, number);
                }
                let read = policy
                    .proposals
                    .first()
                    .map(|waiting| format!("entente policy show --proposal {}", waiting.number));
                let head = fields(&[
                    ("# version", policy.version.to_string()),
                    ("# applied by", policy.applied_by.clone()),
                    ("# approved by", policy.approved_by.clone()),
                    ("# applied at", time(policy.applied_at)),
                    ("# waits", policy.pending.clone()),
                    ("# read it", read.unwrap_or_default()),
                ]);
                let json = json!({
                    "version": policy.version, "source": policy.source,
                    "applied_by": policy.applied_by,
                    "approved_by": policy.approved_by, "applied_at": at(policy.applied_at),
                    "pending": policy.pending,
                    "proposals": policy.proposals.iter().map(|waiting| json!({
                        "number": waiting.number, "by": waiting.by, "proposed_at": at(waiting.at),
                        "source": waiting.source,
                    })).collect::<Vec<_>>(),
                });
                Ok(Answer::new(json, head + &policy.source))
            }
            Self::Apply { file, dry_run } => {
                let asked = ApplyPolicyRequest { source: files::read(&file)?, dry_run };
                applied(admin.apply_policy(asked).await?.into_inner(), dry_run)
            }
            Self::Approve { proposal } => {
                let asked = ApprovePolicyRequest { proposal };
                applied(admin.approve_policy(asked).await?.into_inner(), false)
            }
            Self::Explain { alert, peer } => {
                let asked = ExplainPolicyRequest { alert, peer };
                let why = admin.explain_policy(asked).await?.into_inner();
                let rule = match why.rule_number {
                    0 => "none matched, so nothing is shared".to_owned(),
                    number => format!("{number} ({})", why.rule),
                };
                let text = fields(&[
                    ("level", why.level.clone()),
                    ("rule", rule),
                    ("claims", why.claims.join(", ")),
                    ("withheld", why.withheld.join(", ")),
                    ("passed over", why.considered.join("\n             ")),
                    ("the peer", why.held.clone()),
                ]);
                let json = json!({
                    "level": why.level, "rule": why.rule, "rule_number": why.rule_number,
                    "claims": why.claims,
                    "withheld": why.withheld, "considered": why.considered, "held": why.held,
                });
                Ok(Answer::new(json, text))
            }
        }
    }
}

/// The text of a policy that waits, with what it would change of the one in force.
fn proposed(in_force: &Shown, number: u64) -> Outcome {
    let waiting = in_force.proposals.iter().find(|waiting| waiting.number == number);
    let waiting = waiting.ok_or_else(|| {
        Failure::new(format!("no policy waits under the number {number}")).hint(
            "`entente policy show` names those that wait; one whose base is no longer in force \
             must be applied again",
        )
    })?;
    let parse = |source: &str| {
        Policy::parse(source).map_err(|error| {
            Failure::new(format!("the node's policy can't be read here: {error}"))
                .hint("use the `entente` of the node's version")
        })
    };
    let (new, old) = (parse(&waiting.source)?, parse(&in_force.source)?);
    let (changes, widens) = (new.changes(&old), new.widens(&old));
    let head = fields(&[
        ("# proposal", number.to_string()),
        ("# by", waiting.by.clone()),
        ("# at", time(waiting.at)),
        ("# changes", changes.join("\n#           ")),
        ("# widens", widens.join("\n#           ")),
        ("# approve", format!("entente policy approve {number}")),
    ]);
    let json = json!({
        "proposal": number, "by": waiting.by, "proposed_at": at(waiting.at),
        "source": waiting.source,
        "changes": changes, "widens": widens,
    });
    Ok(Answer::new(json, head + &waiting.source))
}

fn applied(done: ApplyPolicyResponse, dry_run: bool) -> Outcome {
    let outcome = match (dry_run, done.proposal, done.widens.is_empty()) {
        (true, _, true) => "nothing was changed; applied, it would be in force at once".to_owned(),
        (true, _, false) => {
            "nothing was changed; applied, it would wait for a coordinator".to_owned()
        }
        (false, 0, _) => format!("version {} is in force", done.version),
        (false, number, _) => {
            format!(
                "waits for a coordinator, who reads it with `entente policy show --proposal \
                 {number}`: entente policy approve {number}"
            )
        }
    };
    let text = fields(&[
        ("policy", outcome),
        ("changes", done.changes.join("\n         ")),
        ("widens", done.widens.join("\n         ")),
    ]);
    for named in &done.unmatched {
        remark("warning", &format!("{named}, which is no peer of this node: is it written right?"));
    }
    let json = json!({
        "version": done.version, "proposal": done.proposal, "changes": done.changes,
        "widens": done.widens,
        "unmatched": done.unmatched,
    });
    Ok(Answer::new(json, text))
}
