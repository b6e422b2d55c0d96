//! `entente status`, `whoami` and `reload`.

use entente_node::id::Timestamp;
use entente_proto::admin::ReloadRequest;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{PeerStatus, Reason, StatusRequest, StatusResponse, WhoamiRequest};
use serde_json::{Value, json};

use crate::output::{Answer, Outcome, at, fields, shown, table};
use crate::profile;

pub async fn whoami(as_whom: Option<&str>) -> Outcome {
    let mut desk = DeskClient::new(profile::open(as_whom).await?);
    let me = desk.whoami(WhoamiRequest {}).await?.into_inner();
    let text = fields(&[
        ("user", me.user.clone()),
        ("roles", me.roles.join(", ")),
        ("authority", me.authority.clone()),
        ("node", me.software.clone()),
    ]);
    let json = json!({
        "user": me.user, "roles": me.roles, "authority": me.authority, "node": me.software,
    });
    Ok(Answer::new(json, text))
}

pub async fn reload(as_whom: Option<&str>) -> Outcome {
    let mut admin = AdminClient::new(profile::open(as_whom).await?);
    let done = admin.reload(ReloadRequest {}).await?.into_inner();
    let mut text = format!("in force: {}\n", done.reloaded.join(", "));
    for what in &done.not_in_force {
        text += &format!("changed, but not in force: {what}\n");
    }
    let json = json!({ "reloaded": done.reloaded, "not_in_force": done.not_in_force });
    Ok(Answer::new(json, text))
}

/// A time for people; 0 means never.
pub fn time(seconds: i64) -> String {
    if seconds == 0 { "never".to_owned() } else { Timestamp::from_seconds(seconds).to_string() }
}

pub async fn status(as_whom: Option<&str>) -> Outcome {
    let mut desk = DeskClient::new(profile::open(as_whom).await?);
    let status = desk.status(StatusRequest {}).await?.into_inner();
    let json = as_json(&status);
    let lost = match status.lost_state {
        true => {
            "yes: the node issues nothing until two people have reviewed what is in force: \
             `entente epoch recover`, then `entente epoch show`"
        }
        false => "",
    };
    let notices = match status.notices_open {
        0 => String::new(),
        open => format!("{open} not acknowledged: `entente notice list --direction received`"),
    };
    let mut text = fields(&[
        ("authority", status.authority.clone()),
        ("node", status.state.clone()),
        ("own alerts", status.own_alerts.to_string()),
        ("copies", status.copies.to_string()),
        ("notices", notices),
        ("policy", format!("version {}", status.policy_version)),
        ("lost state", lost.to_owned()),
        ("clock", status.clock.map(|clock| clock.doubt).unwrap_or_default()),
        ("found", status.found.clone()),
    ]);
    for reason in &status.reasons {
        text += &format!("{}  {}\n", shown(&reason.reason), shown(&reason.message));
    }
    if !status.peers.is_empty() {
        let headers = [
            "peer",
            "state",
            "stream",
            "offered",
            "acknowledged",
            "to decide",
            "received",
            "confirmed",
            "parked",
            "notes",
        ];
        text += &table(&headers, status.peers.iter().map(row).collect());
    }
    Ok(Answer::new(json, text))
}

fn as_json(status: &StatusResponse) -> Value {
    let peer = |peer: &PeerStatus| {
        json!({
            "authority": peer.authority, "state": peer.state, "sending": peer.sending,
            "receiving": peer.receiving, "epoch_out": peer.epoch_out, "offered": peer.offered,
            "acknowledged": peer.acknowledged, "behind": peer.behind, "epoch_in": peer.epoch_in,
            "received": peer.received, "confirmed_at": at(peer.confirmed_at),
            "silent": peer.silent,
            "heard_at": at(peer.heard_at), "unheard_s": peer.unheard_s,
            "parked_out": peer.parked_out, "parked_in": peer.parked_in, "waiting": peer.waiting,
            "problem": peer.problem, "found": peer.found,
        })
    };
    let reason = |reason: &Reason| {
        json!({
            "reason": reason.reason, "message": reason.message, "refusing": reason.refusing,
        })
    };
    json!({
        "authority": status.authority, "node": status.state,
        "reasons": status.reasons.iter().map(reason).collect::<Vec<_>>(),
        "own_alerts": status.own_alerts, "copies": status.copies,
        "notices_open": status.notices_open,
        "lost_state": status.lost_state, "policy_version": status.policy_version,
        "found": status.found,
        "clock": super::clock::as_json(&status.clock.clone().unwrap_or_default()),
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

/// A duration for people.
fn format_seconds(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn row(peer: &PeerStatus) -> Vec<String> {
    let stream = match (peer.sending, peer.receiving) {
        (true, true) => "both ways",
        (true, false) => "to it",
        (false, true) => "from it",
        (false, false) => "none",
    };
    let mut notes = Vec::new();
    let ago = format_seconds(peer.unheard_s);
    match (peer.silent, peer.unheard_s) {
        (true, 0) => notes.push(format!("silent since {}", time(peer.heard_at))),
        (true, _) => notes.push(format!("silent: not heard since the start {ago} ago")),
        (false, 0) => {}
        (false, _) => notes.push(format!("not heard since the start {ago} ago")),
    }
    notes.extend(
        [&peer.found, &peer.waiting, &peer.problem]
            .into_iter()
            .filter(|note| !note.is_empty())
            .cloned(),
    );
    vec![
        peer.authority.clone(),
        peer.state.clone(),
        stream.to_owned(),
        peer.offered.to_string(),
        peer.acknowledged.to_string(),
        peer.behind.to_string(),
        peer.received.to_string(),
        if peer.confirmed_at == 0 { "not yet".to_owned() } else { time(peer.confirmed_at) },
        format!("{} out, {} in", peer.parked_out, peer.parked_in),
        notes.join("; "),
    ]
}
