//! `entente policy`: who sees what.

use std::path::PathBuf;

use clap::Subcommand;
use entente_node::policy::Policy;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    ApplyPolicyRequest, ApplyPolicyResponse, ApprovePolicyRequest, ExplainPolicyRequest,
    ShowPolicyRequest,
};
use serde_json::json;

use super::node::time;
use crate::output::{Answer, Failure, Outcome, fields};
use crate::{files, profile};

#[derive(Subcommand)]
pub enum Command {
    /// Checks a policy file without a node
    #[command(after_help = "Example:\n  entente policy check policy.toml")]
    Check {
        /// The policy, TOML
        file: PathBuf,
    },
    /// Shows the policy in force, or an earlier one
    #[command(after_help = "Example:\n  entente policy show --profile auditor")]
    Show {
        /// An earlier version
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        version: u64,
    },
    /// Puts a policy in force; what may widen disclosure waits for a coordinator
    #[command(
        after_help = "Examples:\n  entente policy apply policy.toml --dry-run --profile administrator\n  entente policy apply policy.toml --profile administrator"
    )]
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
    #[command(
        after_help = "Example:\n  entente policy explain dk.politi:2026-481920375 fr.police-judiciaire --profile administrator"
    )]
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
            Self::Show { version } => {
                let policy = admin.show_policy(ShowPolicyRequest { version }).await?.into_inner();
                let head = fields(&[
                    ("# version", policy.version.to_string()),
                    ("# applied by", policy.applied_by.clone()),
                    ("# approved by", policy.approved_by.clone()),
                    ("# applied at", time(policy.applied_at)),
                    ("# waits", policy.pending.clone()),
                ]);
                let json = json!({
                    "version": policy.version, "source": policy.source, "applied_by": policy.applied_by,
                    "approved_by": policy.approved_by, "applied_at": policy.applied_at, "pending": policy.pending,
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
                    "level": why.level, "rule": why.rule, "rule_number": why.rule_number, "claims": why.claims,
                    "withheld": why.withheld, "considered": why.considered, "held": why.held,
                });
                Ok(Answer::new(json, text))
            }
        }
    }
}

fn applied(done: ApplyPolicyResponse, dry_run: bool) -> Outcome {
    let outcome = match (dry_run, done.proposal, done.widens.is_empty()) {
        (true, _, true) => "nothing was changed; applied, it would be in force at once".to_owned(),
        (true, _, false) => {
            "nothing was changed; applied, it would wait for a coordinator".to_owned()
        }
        (false, 0, _) => format!("version {} is in force", done.version),
        (false, number, _) => {
            format!("waits for a coordinator: entente policy approve {number}")
        }
    };
    let text = fields(&[
        ("policy", outcome),
        ("changes", done.changes.join("\n         ")),
        ("widens", done.widens.join("\n         ")),
    ]);
    let json = json!({
        "version": done.version, "proposal": done.proposal, "changes": done.changes, "widens": done.widens,
    });
    Ok(Answer::new(json, text))
}
