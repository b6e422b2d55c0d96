//! `entente alert list`: the alerts held here, newest change first, page by page.

use clap::Args;
use entente_node::alert::{Category, Urgency};
use entente_node::desk::State;
use entente_node::id::{AuthorityId, Timestamp};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{AlertSummary, ListAlertsRequest};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::commands::node::time;
use crate::output::{Answer, Failure, Format, Items, Outcome, Rows, at, say};
use crate::times::{since, until};
use crate::words;

/// How many alerts to ask for at a time.
const PAGE_SIZE: u32 = 500;

pub const EXAMPLES: &str = "A time is written 2026-03-31T12:00:00Z, as a day (2026-03-31, UTC), or \
                            as an age (30m, 36h, 7d, 2w).\n\n\
                            Examples:\n  \
                            entente alert list --profile officer\n  \
                            entente alert list --mine --since 7d --profile officer\n  \
                            entente alert list --case 2026/17 --profile officer\n  \
                            entente alert list --issuer fr.police-judiciaire --category \
                            missing_protect --urgency urgent --profile officer\n  \
                            entente alert list --state withdrawn --since 2026-03-01 --until \
                            2026-03-31 --profile officer\n  \
                            entente alert list --limit 0 --format json --profile officer";

#[derive(Args)]
pub struct List {
    /// Only alerts that this authority issued
    #[arg(long, value_name = "AUTHORITY")]
    issuer: Option<AuthorityId>,
    /// Only alerts of this category
    #[arg(long, value_parser = words::of(Category::ALL, Category::as_str))]
    category: Option<String>,
    /// Only alerts of this urgency
    #[arg(long, value_parser = words::of(Urgency::ALL, Urgency::as_str))]
    urgency: Option<String>,
    /// Only alerts of this case
    #[arg(long = "case", value_name = "REFERENCE", default_value = "", hide_default_value = true)]
    case_ref: String,
    /// Only alerts that you created
    #[arg(long)]
    mine: bool,
    /// Only alerts whose last change here was at this time or later
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only alerts whose last change here was before this time; a day counts to its end
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// Only alerts in this state
    #[arg(long, default_value = "live", value_parser = words::of(&State::ALL, State::as_str))]
    state: String,
    /// The largest number of alerts to list; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u64,
    /// The place where an earlier list ended, to continue from
    #[arg(long, value_name = "NEXT", default_value = "", hide_default_value = true)]
    after: String,
}

impl List {
    /// Refuses a span in which nothing can have changed: an empty list would look like an answer.
    pub fn check_span(&self) -> Result<(), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(Failure::usage(format!(
                "--since must be before --until, but {since} is not before {until}"
            ))),
            _ => Ok(()),
        }
    }

    pub async fn run(self, desk: DeskClient<Channel>, format: Format) -> Outcome {
        let seconds = |time: Option<Timestamp>| time.map_or(0, Timestamp::seconds);
        let limit = self.limit;
        let asked = ListAlertsRequest {
            issuer: self.issuer.map(|issuer| issuer.to_string()).unwrap_or_default(),
            category: self.category.unwrap_or_default(),
            urgency: self.urgency.unwrap_or_default(),
            case_ref: self.case_ref,
            mine: self.mine,
            since: seconds(self.since),
            until: seconds(self.until),
            state: self.state,
            page_size: PAGE_SIZE,
            page_token: self.after,
        };
        match format {
            Format::Json => {
                let mut items = Items::default();
                let listed = all(desk, asked, limit, |alert| items.say(&item(&alert))).await;
                match listed {
                    Ok(end) => items.end(&end.facts())?,
                    Err((end, failure)) => return Err(items.broken(end.facts(), failure)),
                }
            }
            Format::Text => {
                let mut rows = Rows::new(&HEADERS);
                let listed = all(desk, asked, limit, |alert| rows.push(row(alert))).await;
                let End { next, .. } = match listed {
                    Ok(end) => end,
                    Err((_, failure)) => return Err(rows.broken(failure)),
                };
                rows.end()?;
                if !next.is_empty() {
                    say(&format!(
                        "there are more: continue with --after {next}, raise --limit, or narrow \
                         the list"
                    ))?;
                }
            }
        }
        Ok(Answer::said())
    }
}

/// How far a list came.
#[derive(Default)]
struct End {
    next: String,
    place: String,
}

impl End {
    fn facts(&self) -> Value {
        let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({ "next": or_null(&self.next), "place": or_null(&self.place) })
    }
}

/// Asks for page after page and passes each alert on as it arrives, so that memory stays small.
async fn all(
    mut desk: DeskClient<Channel>,
    mut asked: ListAlertsRequest,
    limit: u64,
    mut pass_on: impl FnMut(AlertSummary) -> Result<(), Failure>,
) -> Result<End, (End, Failure)> {
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut end = End { next: asked.page_token.clone(), ..End::default() };
    loop {
        asked.page_size = u32::try_from(left).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        let page = match desk.list_alerts(asked.clone()).await {
            Ok(page) => page.into_inner(),
            Err(status) => return Err((end, status.into())),
        };
        for alert in page.alerts {
            left -= 1;
            if let Err(failure) = pass_on(alert) {
                return Err((end, failure));
            }
        }
        end.next = page.next_page_token;
        if end.place.is_empty() {
            end.place = page.place;
        }
        if end.next.is_empty() || left == 0 {
            return Ok(end);
        }
        asked.page_token.clone_from(&end.next);
    }
}

fn item(alert: &AlertSummary) -> Value {
    json!({
        "id": alert.id, "version": alert.version, "state": alert.state, "own": alert.own,
        "category": alert.category, "urgency": alert.urgency, "confirmed": alert.confirmed,
        "changed_at": at(alert.changed_at), "expires_at": at(alert.expires_at),
    })
}

const HEADERS: [&str; 8] =
    ["alert", "changed at", "category", "urgency", "version", "state", "confirmed", "expires at"];

fn row(alert: AlertSummary) -> Vec<String> {
    let confirmed = if alert.confirmed { "yes" } else { "no" };
    let expires = if alert.expires_at == 0 { String::new() } else { time(alert.expires_at) };
    vec![
        alert.id,
        time(alert.changed_at),
        alert.category,
        alert.urgency,
        alert.version.to_string(),
        alert.state,
        confirmed.to_owned(),
        expires,
    ]
}
