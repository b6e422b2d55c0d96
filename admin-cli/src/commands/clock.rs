//! `entente clock`: the time that the node uses, and how a person confirms it after a jump.

use clap::Subcommand;
use entente_node::id::Timestamp;
use entente_proto::admin::ConfirmClockRequest;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{Clock, StatusRequest};
use serde_json::{Value, json};

use super::node::time;
use crate::output::{Answer, Outcome, at, fields};
use crate::profile;

#[derive(Subcommand)]
pub enum Command {
    /// Shows the node's clock, the time that the node uses, and what peers' clocks say
    #[command(after_help = "Example:\n  entente clock show --profile administrator")]
    Show,
    /// Confirms the time that the node's clock shows, after it jumped and while no peer agrees with
    /// it
    #[command(
        after_help = "Read the time elsewhere, from a watch or a telephone: a clock can't confirm \
                      itself. Afterwards the node erases what has expired by this time.\n\n\
                      Examples:\n  \
                      entente clock confirm 2026-11-24T10:20:00Z --profile administrator\n  \
                      entente clock confirm 2026-11-24T11:20:00+01:00 --profile administrator"
    )]
    Confirm {
        /// The time you read, to within 5 minutes, with Z for UTC or an offset from it
        #[arg(value_name = "TIME")]
        read: Timestamp,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        let channel = profile::open(as_whom).await?;
        match self {
            Self::Show => {
                let status = DeskClient::new(channel).status(StatusRequest {}).await?.into_inner();
                let clock = status.clock.unwrap_or_default();
                Ok(Answer::new(as_json(&clock), shown(&clock)))
            }
            Self::Confirm { read } => {
                let asked = ConfirmClockRequest { read: read.seconds() };
                let done = AdminClient::new(channel).confirm_clock(asked).await?.into_inner();
                let text = match done.confirmed {
                    true => format!("confirmed: the node uses {} from now on", time(done.shown)),
                    false => format!("the clock was not in doubt; it shows {}", time(done.shown)),
                };
                let json = json!({ "confirmed": done.confirmed, "shown_at": at(done.shown) });
                Ok(Answer::new(json, text))
            }
        }
    }
}

/// The clock as JSON, for programs.
pub fn as_json(clock: &Clock) -> Value {
    json!({
        "shown_at": at(clock.shown), "believed_at": at(clock.believed), "doubt": clock.doubt,
        "agree": clock.agree, "differ": clock.differ,
    })
}

fn shown(clock: &Clock) -> String {
    fields(&[
        ("the clock shows", time(clock.shown)),
        ("the node uses", time(clock.believed)),
        ("doubt", clock.doubt.clone()),
        ("peers agree", clock.agree.join(", ")),
        ("peers differ", clock.differ.join(", ")),
    ])
}
