//! `entente epoch`: how a node that lost state resumes its work.

use clap::Subcommand;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    EpochReview, RecoverStatementsRequest, ReviewEpochRequest, ReviewedPeer, StartEpochRequest,
};
use serde_json::json;

use crate::output::{Answer, Failure, Format, Outcome, fields, table};
use crate::profile;

#[derive(Subcommand)]
pub enum Epoch {
    /// Fetches this node's later statements back from its peers, after a restore from a backup
    #[command(after_help = "Example:\n  entente epoch recover --profile administrator")]
    Recover,
    /// Shows what two people must review: the policy, the peers, the users, and what each peer
    /// would get
    #[command(after_help = "Example:\n  \
                            entente epoch show --profile coordinator\n\n\
                            Take out first what must not be in force: `entente policy apply`, \
                            `entente peer suspend`, \
                            `entente peer remove`, `entente user remove`. `entente policy show` \
                            prints the policy.")]
    Show,
    /// Starts a new epoch with every peer, so that the node issues again; takes two people, who
    /// name the review they read
    #[command(after_help = "Examples:\n  \
                            entente epoch start --reason 'restored from the backup of Monday' \
                            --review 4f1c09a2b77e63d0 --profile administrator\n  \
                            entente epoch start --approve 4711 --review 4f1c09a2b77e63d0 --profile \
                            coordinator")]
    Start {
        /// The reason for the new epoch; proposes it
        #[arg(
            long,
            required_unless_present = "approve",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
        /// The number of the proposal to approve
        #[arg(
            long,
            value_name = "NUMBER",
            conflicts_with = "reason",
            default_value_t = 0,
            hide_default_value = true
        )]
        approve: u64,
        /// The review that you read, as `entente epoch show` names it
        #[arg(long)]
        review: String,
        /// The number of alerts that may go again to peers from which they had been taken back
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        again: u64,
    },
}

impl Epoch {
    pub async fn run(self, as_whom: Option<&str>, format: Format) -> Outcome {
        let mut admin = AdminClient::new(profile::open(as_whom).await?);
        match self {
            Self::Recover => {
                let done =
                    admin.recover_statements(RecoverStatementsRequest {}).await?.into_inner();
                let text = fields(&[
                    ("recovered", format!("{} statements", done.recovered)),
                    ("asked", done.asked.join(", ")),
                    ("failed", done.failed.join("; ")),
                    ("next", "entente epoch show".to_owned()),
                ]);
                let json = json!({
                    "recovered": done.recovered, "asked": done.asked, "failed": done.failed,
                });
                let answer = Answer::new(json, text);
                if done.failed.is_empty() {
                    return Ok(answer);
                }
                answer.say(format)?;
                Err(not_asked(done.asked.len(), done.failed.len()))
            }
            Self::Show => {
                let review = admin.review_epoch(ReviewEpochRequest {}).await?.into_inner();
                Ok(Answer::new(as_json(&review), described(&review)))
            }
            Self::Start { reason, approve, review, again } => {
                let asked = StartEpochRequest { approve, reason, review: review.clone(), again };
                let done = admin.start_epoch(asked).await?.into_inner();
                let text = match done.started {
                    true => "started: the node issues again".to_owned(),
                    false => format!(
                        "waits for a coordinator, who reads `entente epoch show` first:\n  {}",
                        approval(done.proposal, &review, again)
                    ),
                };
                Ok(Answer::new(json!({ "started": done.started, "proposal": done.proposal }), text))
            }
        }
    }
}

/// What only those peers hold that were not asked is still missing.
fn not_asked(asked: usize, failed: usize) -> Failure {
    let all = asked + failed;
    Failure::new(format!("{failed} of {all} active peers could not be asked for what they hold"))
        .hint(
            "run `entente epoch recover` again once they can be reached: what only they hold is \
             still missing here",
        )
        .told()
}

fn approval(proposal: u64, review: &str, again: u64) -> String {
    let again = if again > 0 { format!(" --again {again}") } else { String::new() };
    format!("entente epoch start --approve {proposal} --review {review}{again}")
}

fn as_json(review: &EpochReview) -> serde_json::Value {
    let peers = review.peers.iter().map(|peer| {
        json!({
            "authority": peer.authority, "state": peer.state, "fingerprint": peer.fingerprint,
            "asked": peer.asked, "alerts": peer.alerts, "anew": peer.anew, "unsure": peer.unsure,
            "again": peer.again,
        })
    });
    let users = review
        .users
        .iter()
        .map(|user| json!({ "name": user.name, "roles": user.roles, "state": user.state }));
    let proposals = review.proposals.iter().map(|one| {
        json!({ "number": one.number, "by": one.by, "reason": one.reason, "review": one.review })
    });
    json!({
        "stopped": review.stopped, "found": review.found, "review": review.review,
        "policy_version": review.policy_version, "again": review.again,
        "peers": peers.collect::<Vec<_>>(), "users": users.collect::<Vec<_>>(),
        "proposals": proposals.collect::<Vec<_>>(),
    })
}

fn described(review: &EpochReview) -> String {
    let again = match review.again {
        0 => "no alert that was taken back goes out again".to_owned(),
        again => format!(
            "{again} alerts that had been taken back from peers would go to them again: unless \
             you want that, apply a narrower policy or suspend the peers"
        ),
    };
    let mut text = fields(&[
        ("found", review.found.clone()),
        ("policy", format!("version {}: entente policy show", review.policy_version)),
        ("taken back", again),
    ]);
    let peer = |peer: &ReviewedPeer| {
        vec![
            peer.authority.clone(),
            peer.state.clone(),
            if peer.asked { "yes" } else { "not yet" }.to_owned(),
            peer.alerts.to_string(),
            peer.anew.to_string(),
            peer.unsure.to_string(),
            peer.again.to_string(),
            peer.fingerprint.clone(),
        ]
    };
    let headers = [
        "peer",
        "state",
        "asked",
        "gets",
        "does not hold",
        "may not hold",
        "was taken back",
        "fingerprint",
    ];
    text += "\n";
    text += &table(&headers, review.peers.iter().map(peer).collect());
    let user = |user: &entente_proto::admin::User| {
        vec![user.name.clone(), user.state.clone(), user.roles.join(", ")]
    };
    text += "\n";
    text += &table(&["user", "state", "roles"], review.users.iter().map(user).collect());
    text += "\n";
    text + &fields(&[("review", review.review.clone()), ("next", next(review))])
}

/// What the person who reads the review does next.
fn next(review: &EpochReview) -> String {
    if !review.stopped && review.again == 0 {
        return "nothing is left to confirm".to_owned();
    }
    let waiting = review.proposals.iter().find(|one| one.review == review.review);
    let again = if review.again > 0 { format!(" --again {}", review.again) } else { String::new() };
    match waiting {
        Some(one) => format!(
            "proposed by {} ({}); a coordinator approves it: {}",
            one.by,
            one.reason,
            approval(one.number, &review.review, review.again)
        ),
        None => format!(
            "an administrator proposes it: entente epoch start --reason TEXT --review {}{again}",
            review.review
        ),
    }
}
