//! `entente epoch`: how a node that lost state goes on.

use clap::Subcommand;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    EpochReview, RecoverStatementsRequest, ReviewEpochRequest, ReviewedPeer, StartEpochRequest,
};
use serde_json::json;

use crate::output::{Answer, Outcome, fields, table};
use crate::profile;

#[derive(Subcommand)]
pub enum Epoch {
    /// Fetches this node's later statements from its peers, after a restore of an old backup
    #[command(after_help = "Example:\n  entente epoch recover --profile administrator")]
    Recover,
    /// Shows what two people confirm: the policy, the peers, the users, and how much each peer
    /// would get
    #[command(after_help = "Example:\n  \
                            entente epoch show --profile coordinator\n\n\
                            What is not to be in force is narrowed first: `entente policy apply`, \
                            `entente peer suspend`, `entente peer remove`,\n\
                            `entente user remove`; `entente policy show` prints the policy.")]
    Show,
    /// Starts a new epoch towards every peer and ends the stop; takes two people, who name what
    /// they were shown
    #[command(after_help = "Examples:\n  \
                            entente epoch start --reason 'restored from the backup of Monday' \
                            --review 4f1c09a2b77e63d0 --profile administrator\n  \
                            entente epoch start --approve 4711 --review 4f1c09a2b77e63d0 --profile \
                            coordinator")]
    Start {
        /// Proposes it, with the reason
        #[arg(
            long,
            required_unless_present = "approve",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
        /// Approves the proposal of this number
        #[arg(long, conflicts_with = "reason", default_value_t = 0, hide_default_value = true)]
        approve: u64,
        /// What `entente epoch show` gave as the review
        #[arg(long)]
        review: String,
        /// So many alerts go to peers again from which they had been taken back, and that is meant
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        again: u64,
    },
}

impl Epoch {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
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
                Ok(Answer::new(json, text))
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
                        "waits for a coordinator, who looks at `entente epoch show` first:\n  {}",
                        approval(done.proposal, &review, again)
                    ),
                };
                Ok(Answer::new(json!({ "started": done.started, "proposal": done.proposal }), text))
            }
        }
    }
}

fn approval(proposal: u64, review: &str, again: u64) -> String {
    let again = if again > 0 { format!(" --again {again}") } else { String::new() };
    format!("entente epoch start --approve {proposal} --review {review}{again}")
}

fn as_json(review: &EpochReview) -> serde_json::Value {
    let peers = review.peers.iter().map(|peer| {
        json!({
            "authority": peer.authority, "state": peer.state, "fingerprint": peer.fingerprint,
            "asked": peer.asked, "alerts": peer.alerts, "anew": peer.anew, "again": peer.again,
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
        0 => "none that was taken back goes out again".to_owned(),
        again => format!(
            "{again} alerts that had been taken back from peers would go to them again: apply a \
             narrower policy or suspend the peers, unless that is meant"
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
            peer.again.to_string(),
            peer.fingerprint.clone(),
        ]
    };
    let headers =
        ["peer", "state", "asked", "gets", "does not hold", "was taken back", "fingerprint"];
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

/// What the person who looks does next.
fn next(review: &EpochReview) -> String {
    if !review.stopped && review.again == 0 {
        return "nothing waits for a confirmation".to_owned();
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
