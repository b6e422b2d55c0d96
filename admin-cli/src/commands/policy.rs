//! `entente policy`: what each peer may see.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use entente_node::policy::Policy;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    ApplyPolicyRequest, ApplyPolicyResponse, ApprovePolicyRequest, ExplainPolicyRequest,
    Policy as Shown, PolicyProposal, ShowPolicyRequest,
};
use serde_json::json;

use super::node::time;
use crate::kind::Kind;
use crate::output::{Answer, Failure, Outcome, at, fields, remark};
use crate::{files, profile};

#[derive(Subcommand)]
pub enum Command {
    /// Checks a policy file without a node
    #[command(after_help = "Example:\n  entente policy check policy.toml")]
    Check {
        /// The policy file (TOML)
        file: PathBuf,
    },
    /// Shows the policy in force, an earlier version, or a proposal that waits for a coordinator
    #[command(after_help = "Examples:\n  \
                            entente policy show --profile auditor\n  \
                            entente policy show --proposal 42 --profile coordinator")]
    Show {
        /// The number of an earlier version to show
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        version: u64,
        /// The number of a pending proposal to show, with the changes it would make
        #[arg(long, value_name = "NUMBER", conflicts_with = "version")]
        proposal: Option<u64>,
    },
    /// Puts a policy in force, or proposes it to a coordinator if it may disclose more
    #[command(after_help = "Examples:\n  \
                            entente policy apply policy.toml --dry-run --profile administrator\n  \
                            entente policy apply policy.toml --profile administrator")]
    Apply {
        /// The policy file (TOML)
        file: PathBuf,
        /// Only shows what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Approves a proposed policy, as the second person
    #[command(after_help = "Example:\n  entente policy approve 42 --profile coordinator")]
    Approve {
        /// The number of the proposal, from `policy apply` or `policy show`
        #[arg(value_name = "NUMBER")]
        proposal: u64,
    },
    /// Explains what a peer gets of an alert and which rule decides; names claims, never values
    #[command(after_help = "Example:\n  \
                            entente policy explain dk.politi:2026-481920375 fr.police-judiciaire \
                            --profile administrator")]
    Explain {
        /// The id of an own alert
        alert: String,
        /// The authority of the peer
        peer: String,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        if let Self::Check { file } = &self {
            return check(file);
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
                    ("# pending", policy.pending.clone()),
                    ("# read it with", read.unwrap_or_default()),
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
                    ("peer holds", why.held.clone()),
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

fn check(file: &Path) -> Outcome {
    let text = files::read(file)?;
    let policy = Policy::parse(&text).map_err(|error| match Kind::of(&text) {
        Kind::Policy | Kind::Unknown => Failure::new(format!("{}: {error}", file.display())),
        _ => Kind::Policy.refusal(Kind::of(&text), file),
    })?;
    let rules = policy.rules().len();
    let text = format!("the policy is valid; it has {rules} rules");
    Ok(Answer::new(json!({ "rules": rules }), text))
}

/// The text of a pending policy, with what it would change of the one in force.
fn proposed(in_force: &Shown, number: u64) -> Outcome {
    let waiting = in_force.proposals.iter().find(|waiting| waiting.number == number);
    let waiting = waiting.ok_or_else(|| {
        Failure::new(format!("no pending proposal has the number {number}")).hint(
            "`entente policy show` lists the pending ones; one that was based on an older policy \
             must be applied again",
        )
    })?;
    let parse = |source: &str| {
        Policy::parse(source).map_err(|error| {
            Failure::new(format!("this program can't read the node's policy: {error}"))
                .hint("use the version of `entente` that the node has")
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

/// A pending proposal was based on the policy before: whoever made it should know.
fn outdated(proposal: &PolicyProposal, dry_run: bool) -> String {
    let then = if dry_run { "could no longer" } else { "can no longer" };
    format!(
        "proposal {} by {} {then} be approved: it was based on the policy before this one; tell \
         them to apply theirs again, if it is still meant",
        proposal.number, proposal.by
    )
}

fn applied(done: ApplyPolicyResponse, dry_run: bool) -> Outcome {
    let outcome = match (dry_run, done.proposal, done.widens.is_empty()) {
        (true, _, true) => "dry run: this policy would be in force at once".to_owned(),
        (true, _, false) => "dry run: this policy would wait for a coordinator".to_owned(),
        (false, 0, _) => format!("version {} is in force", done.version),
        (false, number, _) => {
            format!(
                "waits for a coordinator, who reads it with `entente policy show --proposal \
                 {number}` and approves it with `entente policy approve {number}`"
            )
        }
    };
    let text = fields(&[
        ("policy", outcome),
        ("changes", done.changes.join("\n         ")),
        ("widens", done.widens.join("\n         ")),
    ]);
    for proposal in &done.outdated {
        remark("warning", &outdated(proposal, dry_run));
    }
    for named in &done.unmatched {
        remark("warning", &format!("{named}, which is not a peer of this node: is it misspelt?"));
    }
    let json = json!({
        "version": done.version, "proposal": done.proposal, "changes": done.changes,
        "widens": done.widens,
        "unmatched": done.unmatched,
        "outdated": done.outdated.iter().map(|one| json!({
            "number": one.number, "by": one.by, "proposed_at": at(one.at),
        })).collect::<Vec<_>>(),
    });
    Ok(Answer::new(json, text))
}
