//! `entente notice`: short texts from one authority's desk to another's.

use std::path::Path;

use clap::Subcommand;
use entente_node::desk::NoticeState;
use entente_node::id::Entropy;
use entente_proto::desk::notices_client::NoticesClient;
use entente_proto::desk::{
    AcknowledgeNoticeRequest, GetNoticeRequest, ListNoticesRequest, Notice, SendNoticeRequest,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::node::time;
use crate::output::{Answer, Failure, Outcome, at, fields, shown, table};
use crate::{files, profile, words};

/// The directions of a notice, as they are written.
const DIRECTIONS: [&str; 2] = ["sent", "received"];

#[derive(Subcommand)]
pub enum Command {
    /// Sends a notice to a peer's desk: a signed text of at most 2000 characters
    #[command(
        after_help = "A text on the command line stays in your shell's history: name nobody there, \
                      or give - and write the text to stdin.\n\nExamples:\n  entente notice send \
                      fr.police-judiciaire 'We will call your desk at 14:00 UTC.' --profile officer\
                      \n  entente notice send fr.police-judiciaire --about \
                      fr.police-judiciaire:2026-481920375 - --profile officer < notice.txt"
    )]
    Send {
        /// The authority of the peer
        peer: String,
        /// The text of the notice; - for stdin
        text: String,
        /// The id of the alert that the notice is about
        #[arg(long, value_name = "ALERT", default_value = "", hide_default_value = true)]
        about: String,
        /// A key of your own for this notice; repeating the command with it sends nothing twice
        #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
        key: String,
    },
    /// Lists notices, newest first, without their texts
    #[command(
        after_help = "States:\n  waiting       sent, and not taken yet\n  refused       sent, and \
                      refused by the peer, or held back: the reason says why\n  stopped       sent \
                      to a peer that was removed before it took it\n  open          taken, and not \
                      acknowledged yet\n  acknowledged  read by a person at its receiver\n\n\
                      Examples:\n  entente notice list --profile officer\n  entente notice list \
                      --direction received --state open --profile officer"
    )]
    List {
        /// Only notices from or to this peer
        #[arg(long, value_name = "PEER", default_value = "", hide_default_value = true)]
        peer: String,
        /// Only notices in this state
        #[arg(
            long,
            value_name = "STATE",
            value_parser = words::of(NoticeState::ALL, NoticeState::as_str)
        )]
        state: Option<String>,
        /// Only notices in this direction
        #[arg(long, value_name = "DIRECTION", value_parser = DIRECTIONS)]
        direction: Option<String>,
        /// The largest number of notices to list
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// The place where an earlier list ended, to continue from
        #[arg(long, value_name = "NEXT", default_value = "", hide_default_value = true)]
        after: String,
    },
    /// Shows a notice; the look is logged
    #[command(
        after_help = "Example:\n  entente notice show fr.police-judiciaire:n-8f3a-2b91-c4d0 \
                      --profile officer"
    )]
    Show {
        /// The id of the notice
        #[arg(value_name = "NOTICE")]
        id: String,
    },
    /// Acknowledges a received notice, and tells its sender who will act
    #[command(
        after_help = "Example:\n  entente notice acknowledge fr.police-judiciaire:n-8f3a-2b91-c4d0 \
                      'night desk, we look into it' --profile officer"
    )]
    Acknowledge {
        /// The id of the notice
        #[arg(value_name = "NOTICE")]
        id: String,
        /// The words for its sender: who read it and who will act, at most 200 characters; - for
        /// stdin
        who: String,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        match self {
            Self::Send { peer, text, about, key } => {
                let text = text_of(&text)?;
                let key = if key.is_empty() { fresh_key() } else { key };
                let asked = SendNoticeRequest { to: peer, text, about, key };
                send(as_whom, asked).await
            }
            Self::List { peer, state, direction, limit, after } => {
                let asked = ListNoticesRequest {
                    peer,
                    state: state.unwrap_or_default(),
                    direction: direction.unwrap_or_default(),
                    page_size: limit,
                    page_token: after,
                };
                list(notices(as_whom).await?, asked).await
            }
            Self::Show { id } => {
                let asked = GetNoticeRequest { id };
                let notice = notices(as_whom).await?.get_notice(asked).await?.into_inner();
                Ok(Answer::new(opened(&notice), told(&notice)))
            }
            Self::Acknowledge { id, who } => {
                let asked = AcknowledgeNoticeRequest { id, who: text_of(&who)? };
                let mut notices = notices(as_whom).await?;
                let notice = notices.acknowledge_notice(asked).await?.into_inner();
                Ok(Answer::new(issued(&notice), summary(&notice)))
            }
        }
    }
}

async fn notices(as_whom: Option<&str>) -> Result<NoticesClient<Channel>, Failure> {
    Ok(NoticesClient::new(profile::open(as_whom).await?))
}

/// An argument, or what stdin gives for `-`.
fn text_of(argument: &str) -> Result<String, Failure> {
    if argument == "-" { files::read(Path::new("-")) } else { Ok(argument.to_owned()) }
}

fn fresh_key() -> String {
    let bytes: [u8; 16] = Entropy::os().bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the answer was lost, the key says how to ask again and send nothing twice.
async fn send(as_whom: Option<&str>, asked: SendNoticeRequest) -> Outcome {
    let key = asked.key.clone();
    let mut notices = notices(as_whom).await?;
    let sent = notices.send_notice(asked).await.map_err(|status| {
        let failure = Failure::from(status);
        if !failure.is_unreachable() {
            return failure;
        }
        failure.hint(format!(
            "nobody knows whether it was sent: repeat it with --key {key}, and it is sent once"
        ))
    });
    let notice = sent?.into_inner();
    Ok(Answer::new(issued(&notice), summary(&notice)))
}

async fn list(mut notices: NoticesClient<Channel>, asked: ListNoticesRequest) -> Outcome {
    let page = notices.list_notices(asked).await?.into_inner();
    let next = (!page.next_page_token.is_empty()).then(|| page.next_page_token.clone());
    let items: Vec<Value> = page.notices.iter().map(item).collect();
    let json = json!({ "items": items, "next": next });
    let headers = ["notice", "direction", "peer", "state", "entered at", "about"];
    let rows = page.notices.into_iter().map(row).collect();
    let mut text = table(&headers, rows);
    if let Some(next) = next {
        text += &format!("there are more: go on with --after {next}\n");
    }
    Ok(Answer::new(json, text))
}

fn row(notice: Notice) -> Vec<String> {
    let state = match notice.reason.as_str() {
        "" => notice.state,
        reason => format!("{}: {reason}", notice.state),
    };
    vec![notice.id, notice.direction, notice.peer, state, time(notice.at), notice.about]
}

fn item(notice: &Notice) -> Value {
    json!({
        "id": notice.id, "direction": notice.direction, "peer": notice.peer,
        "state": notice.state, "reason": notice.reason, "about": notice.about,
        "sent_by": notice.sent_by, "entered_at": at(notice.at), "taken_at": at(notice.taken_at),
        "acknowledged_at": at(notice.acknowledged_at), "acknowledged_by": notice.acknowledged_by,
    })
}

fn with(mut json: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (json.as_object_mut(), more) {
        fields.extend(more);
    }
    json
}

fn issued(notice: &Notice) -> Value {
    with(item(notice), json!({ "new": notice.is_new }))
}

fn opened(notice: &Notice) -> Value {
    let more = json!({ "text": notice.text, "who": notice.who, "contact": notice.contact });
    with(item(notice), more)
}

fn summary(notice: &Notice) -> String {
    let direction = match notice.direction.as_str() {
        "sent" => "to",
        _ => "from",
    };
    let acknowledged = match (notice.acknowledged_at, notice.acknowledged_by.as_str()) {
        (0, _) => String::new(),
        (seconds, "") => time(seconds),
        (seconds, by) => format!("{} by {by}", time(seconds)),
    };
    let again = if notice.is_new { "" } else { "the same was done before; nothing was sent twice" };
    let taken = if notice.taken_at == 0 { String::new() } else { time(notice.taken_at) };
    fields(&[
        ("notice", notice.id.clone()),
        (direction, notice.peer.clone()),
        ("about", notice.about.clone()),
        ("state", notice.state.clone()),
        ("reason", notice.reason.clone()),
        ("sent by", notice.sent_by.clone()),
        ("entered", time(notice.at)),
        ("taken", taken),
        ("acknowledged", acknowledged),
        ("note", again.to_owned()),
    ])
}

fn told(notice: &Notice) -> String {
    let opened = Notice { is_new: true, ..notice.clone() };
    let more = fields(&[("who acts", notice.who.clone()), ("24 h desk", notice.contact.clone())]);
    format!("{}{more}\n{}\n", summary(&opened), shown(&notice.text))
}
