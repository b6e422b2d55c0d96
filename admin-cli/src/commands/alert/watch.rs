//! `entente alert watch`: changes to alerts, as they happen.

use clap::Args;
use entente_node::reason::Reason;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{Change, WatchAlertsRequest};
use serde_json::json;

use crate::commands::node::time;
use crate::output::{Failure, Format, Outcome, at, remark, say, say_json};
use crate::profile;

pub const EXAMPLES: &str = "Each change carries its place in the log. With --from PLACE the watch \
                            continues after it, even if the node or this command was restarted. \
                            `alert list --format json` gives a place too: list first, then watch \
                            from there, and you miss nothing.\n\n\
                            Examples:\n  \
                            entente alert watch --profile officer\n  \
                            entente alert watch --from 4711-0123456789abcdef --format json \
                            --profile officer";

#[derive(Args)]
pub struct Watch {
    /// The place to continue from, as an earlier change or list gave it; now when omitted
    #[arg(long, value_name = "PLACE", default_value = "", hide_default_value = true)]
    from: String,
}

impl Watch {
    pub async fn run(self, as_whom: Option<&str>, format: Format) -> Outcome {
        let mut place = self.from;
        loop {
            let failure = watch(as_whom, &mut place, format).await;
            // It may be opened again at once: the node looks at certificates anew.
            if failure.is(Reason::StreamTooOld) {
                continue;
            }
            if failure.is(Reason::PlaceUnknown) {
                return Err(failure);
            }
            let go_on = format!("continue with --from {place}");
            return Err(match (place.as_str(), failure.hinted()) {
                ("", _) => failure,
                (_, None) => failure.hint(go_on),
                (_, Some(hint)) => {
                    let hint = format!("{hint}; {go_on}");
                    failure.hint(hint)
                }
            });
        }
    }
}

/// Prints changes until the stream ends, and keeps the place of the last one printed.
async fn watch(as_whom: Option<&str>, place: &mut String, format: Format) -> Failure {
    let opened = async {
        let mut desk = DeskClient::new(profile::open(as_whom).await?);
        let asked = WatchAlertsRequest { from: place.clone(), notices: true };
        Ok::<_, Failure>(desk.watch_alerts(asked).await?.into_inner())
    };
    let mut changes = match opened.await {
        Ok(changes) => changes,
        Err(failure) => return failure,
    };
    loop {
        let change = match changes.message().await {
            Ok(Some(change)) => change,
            Ok(None) => return Failure::unreachable("the node ended the watch"),
            Err(status) => return status.into(),
        };
        let behind = change.place.clone();
        if let Err(failure) = tell(change, format) {
            return failure;
        }
        *place = behind;
    }
}

fn tell(change: Change, format: Format) -> Result<(), Failure> {
    let Change { kind, id, version, at: changed_at, place, category, urgency, notice } = change;
    match format {
        Format::Json if kind == "ready" => {
            say_json(&json!({ "kind": kind, "place": place, "ready_at": at(changed_at) }))
        }
        Format::Json if !notice.is_empty() => say_json(&json!({
            "kind": kind, "notice": notice, "about": id, "changed_at": at(changed_at),
            "place": place,
        })),
        Format::Json => say_json(&json!({
            "kind": kind, "id": id, "version": version, "category": category, "urgency": urgency,
            "changed_at": at(changed_at), "place": place,
        })),
        Format::Text if kind == "ready" => {
            let what = format!("showing changes as they happen, from {place} on; Ctrl-C ends it");
            remark("watching", &what);
            Ok(())
        }
        Format::Text if !notice.is_empty() => {
            say(&format!("{}  {kind}  {notice}  {id}  {place}", time(changed_at)))
        }
        Format::Text => {
            let time = time(changed_at);
            let line = format!("{time}  {kind:9}  {id}  {version}  {category}  {urgency}  {place}");
            say(&line)
        }
    }
}
