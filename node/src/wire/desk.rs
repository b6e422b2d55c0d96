//! The messages of the desk door for officers.

use std::collections::HashMap;

use entente_proto::desk as proto;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::refusal::{Malformed, refusal, store_code};
use crate::alert::{AlertError, Fault, SubjectCategory};
use crate::desk::{
    Aim, ClockStatus, DeskError, Found, Hit, Issued, Justification, Line, Listed, NodeStatus,
    Opened, PeerStatus, Place, Seen, SeenAlert, State, Wanted,
};
use crate::id::{AlertId, AuthorityId, Timestamp};
use crate::matching::Query;
use crate::notice::NoticeError;
use crate::readiness;
use crate::reason::Reason;

/// An optional name: empty is none.
pub fn optional<T: std::str::FromStr>(
    text: &str,
    field: &'static str,
) -> Result<Option<T>, Malformed> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Malformed(field)),
    }
}

/// The id of an alert.
pub fn alert_id(text: &str) -> Result<AlertId, Status> {
    text.parse().map_err(|error: crate::id::IdError| {
        refusal(Code::InvalidArgument, Reason::IdMalformed, &error.to_string())
    })
}

/// The name of an authority.
pub fn authority(text: &str) -> Result<AuthorityId, Status> {
    text.parse().map_err(|error: crate::id::IdError| {
        refusal(Code::InvalidArgument, Reason::AuthorityMalformed, &error.to_string())
    })
}

fn seconds(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::seconds)
}

/// A line of an import, with its number.
pub fn import_line(line: proto::ImportLine) -> (u64, Line) {
    let proto::ImportLine { line: number, draft, override_reason, recreate } = line;
    (number, Line { draft, override_reason, recreate })
}

/// A refusal of a line of an import.
pub fn line_refused(error: &DeskError) -> proto::Refusal {
    let fault = |fault: &Fault| proto::Fault {
        path: fault.path.clone(),
        reason: fault.kind.reason().to_string(),
        expected: fault.expected.clone(),
        example: fault.example.clone(),
    };
    proto::Refusal {
        reason: error.reason().to_string(),
        message: error.to_string(),
        faults: error.faults().iter().map(fault).collect(),
    }
}

/// An alert that was just issued.
pub fn issued(issued: Issued, state: State) -> proto::Alert {
    proto::Alert {
        id: issued.id.to_string(),
        version: issued.version,
        state: state.as_str().to_owned(),
        own: true,
        confirmed: true,
        warnings: issued.warnings,
        ..proto::Alert::default()
    }
}

/// An opened alert.
pub fn opened(opened: Opened) -> proto::Alert {
    let view = opened.view;
    proto::Alert {
        id: view.head.id.to_string(),
        version: view.head.version,
        state: State::Live.as_str().to_owned(),
        own: opened.own,
        content: serde_json::to_string(&view.content).unwrap_or_default(),
        claims: view.claims.names().into_iter().map(str::to_owned).collect(),
        category: view.content.category.map(|c| c.as_str().to_owned()).unwrap_or_default(),
        expires_at: view.content.expires_at().unwrap_or(view.head.expires_at).seconds(),
        token: if opened.exported { view.token } else { String::new() },
        token_withheld: opened.withheld.unwrap_or_default().to_owned(),
        confirmed: opened.confirmed,
        confirmed_at: seconds(opened.confirmed_at),
        contact: opened.contact,
        warnings: opened.warnings,
        gap: opened.gap,
    }
}

/// A line of a list.
pub fn listed(listed: Listed) -> proto::AlertSummary {
    proto::AlertSummary {
        id: listed.id.to_string(),
        version: listed.version,
        state: listed.state.as_str().to_owned(),
        own: listed.own,
        category: listed.category.map(|c| c.as_str().to_owned()).unwrap_or_default(),
        confirmed: listed.confirmed,
        urgency: listed.urgency.map(|u| u.as_str().to_owned()).unwrap_or_default(),
        changed_at: listed.changed_at.seconds(),
        expires_at: seconds(listed.expires_at),
    }
}

/// The filters of a list.
pub fn wanted(asked: &proto::ListAlertsRequest) -> Result<Wanted, Malformed> {
    let time = |seconds| (seconds != 0).then(|| Timestamp::from_seconds(seconds));
    Ok(Wanted {
        issuer: optional(&asked.issuer, "issuer")?,
        category: optional(&asked.category, "category")?,
        urgency: optional(&asked.urgency, "urgency")?,
        case_ref: asked.case_ref.clone(),
        mine: asked.mine,
        since: time(asked.since),
        until: time(asked.until),
        state: State::parse(&asked.state).ok_or(Malformed("state"))?,
    })
}

/// A change of an alert.
pub fn change(seen: Seen) -> proto::Change {
    match seen {
        Seen::Alert(seen) => alert_change(seen),
        Seen::Notice(seen) => proto::Change {
            kind: seen.kind.to_owned(),
            id: seen.about.map(|about| about.to_string()).unwrap_or_default(),
            at: seen.at.seconds(),
            place: seen.place.to_string(),
            notice: seen.id.to_string(),
            ..proto::Change::default()
        },
    }
}

fn alert_change(seen: SeenAlert) -> proto::Change {
    proto::Change {
        kind: seen.kind.as_str().to_owned(),
        id: seen.id.to_string(),
        version: seen.version,
        at: seen.changed_at.seconds(),
        place: seen.place.to_string(),
        category: seen.category.map(|c| c.as_str().to_owned()).unwrap_or_default(),
        urgency: seen.urgency.map(|u| u.as_str().to_owned()).unwrap_or_default(),
        notice: String::new(),
    }
}

/// The message that everything before this place was reported.
pub fn ready(place: &Place, at: Timestamp) -> proto::Change {
    let (kind, place) = ("ready".to_owned(), place.to_string());
    proto::Change { kind, at: at.seconds(), place, ..proto::Change::default() }
}

/// A search as asked.
pub fn search(request: proto::SearchRequest) -> Result<(Query, Justification), Status> {
    let identifiers: Vec<_> =
        request.identifiers.into_iter().map(|i| (i.r#type, i.country, i.number)).collect();
    let query =
        Query::parse(&identifiers, &request.family_name, &request.given_name, &request.birth_date)
            .map_err(|error| desk_status(&error.into()))?;
    let offence = request.offence.parse().map_err(|_| Malformed("offence"))?;
    let subject = match request.subject_category.as_str() {
        "object" => None,
        text => Some(text.parse::<SubjectCategory>().map_err(|_| Malformed("subject_category"))?),
    };
    let aim = Aim::parse(&request.aim).ok_or(Malformed("aim"))?;
    Ok((query, Justification { case_ref: request.case_ref, offence, subject, aim }))
}

/// The answer to a search: hits, then the summary.
pub fn found(found: Found) -> Vec<proto::SearchResponse> {
    use proto::search_response::Message;
    let summary = proto::SearchSummary {
        hits: u32::try_from(found.hits.len()).unwrap_or(u32::MAX),
        log_entry: found.log_entry,
        more: found.more,
        silent_peers: found.silent.iter().map(ToString::to_string).collect(),
        unheard_peers: found.unheard.iter().map(ToString::to_string).collect(),
    };
    let hits = found.hits.into_iter().map(|found| Message::Hit(hit(found)));
    let messages = hits.chain([Message::Summary(summary)]);
    messages.map(|message| proto::SearchResponse { message: Some(message) }).collect()
}

fn hit(hit: Hit) -> proto::Hit {
    proto::Hit {
        issuer: hit.id.authority().to_string(),
        id: hit.id.to_string(),
        own: hit.own,
        quality: hit.quality.as_str().to_owned(),
        matched: hit.matched,
        category: hit.category.map(|c| c.as_str().to_owned()).unwrap_or_default(),
        action: hit.action.unwrap_or_default().to_owned(),
        confirmed: hit.confirmed,
        confirmed_at: seconds(hit.confirmed_at),
        contact: hit.contact,
        warnings: hit.warnings,
        version: hit.version,
        subject_categories: hit.people.iter().map(ToString::to_string).collect(),
        non_punishment: hit.non_punishment.unwrap_or_default(),
    }
}

/// How the node stands.
pub fn status(status: NodeStatus) -> proto::StatusResponse {
    let state = readiness::state(&status.reasons);
    proto::StatusResponse {
        authority: status.authority.to_string(),
        own_alerts: status.own_alerts,
        notices_open: status.notices_open,
        copies: status.copies,
        lost_state: status.lost_state,
        policy_version: status.policy_version,
        found: status.log_alarm.unwrap_or_default(),
        peers: status.peers.into_iter().map(peer_status).collect(),
        clock: Some(clock(&status.clock)),
        state: state.to_owned(),
        reasons: status.reasons.into_iter().map(reason).collect(),
    }
}

fn reason(reason: readiness::Reason) -> proto::Reason {
    let refusing = reason.level == readiness::Level::Refusing;
    proto::Reason { reason: reason.reason.to_owned(), message: reason.message, refusing }
}

fn peer_status(peer: PeerStatus) -> proto::PeerStatus {
    let out = peer.out.as_ref();
    let halted = out.and_then(|out| out.halted.clone());
    proto::PeerStatus {
        authority: peer.authority.to_string(),
        state: peer.state.as_str().to_owned(),
        sending: peer.live.sending,
        receiving: peer.live.receiving,
        epoch_out: out.map_or(0, |out| out.epoch),
        offered: out.map_or(0, |out| out.tail),
        acknowledged: out.map_or(0, |out| out.acked),
        behind: peer.behind,
        epoch_in: peer.received.epoch,
        received: peer.received.seq,
        confirmed_at: seconds(peer.live.confirmed_at),
        silent: peer.silent,
        heard_at: seconds(peer.heard_at),
        unheard_s: peer.unheard_s,
        parked_out: peer.parked_out,
        parked_in: peer.parked_in,
        waiting: halted.or(peer.live.waiting).unwrap_or_default(),
        problem: peer.live.problem.unwrap_or_default(),
        found: peer.log_alarm.unwrap_or_default(),
    }
}

fn clock(clock: &ClockStatus) -> proto::Clock {
    let doubt = clock.doubt.as_ref();
    let names = |peers: &[AuthorityId]| peers.iter().map(ToString::to_string).collect();
    proto::Clock {
        shown: clock.shown.seconds(),
        believed: clock.believed.seconds(),
        doubt: doubt.map(ToString::to_string).unwrap_or_default(),
        agree: doubt.map(|doubt| names(&doubt.agree)).unwrap_or_default(),
        differ: doubt.map(|doubt| names(&doubt.differ)).unwrap_or_default(),
    }
}

/// The status for a refusal or failure.
pub fn desk_status(error: &DeskError) -> Status {
    let code = match error {
        DeskError::Draft(AlertError::Sign(_)) => Code::Unavailable,
        DeskError::Draft(_)
        | DeskError::Query(_)
        | DeskError::Reason(_)
        | DeskError::ExportReason { .. } => Code::InvalidArgument,
        DeskError::NoticeText(NoticeError::Sign(_)) => Code::Unavailable,
        DeskError::CaseOfErased | DeskError::NoticeText(_) | DeskError::NoticeKey => {
            Code::InvalidArgument
        }
        DeskError::NoticeUnknown(_) => Code::NotFound,
        DeskError::OwnNotice(_) | DeskError::NoticeAcknowledged(_) | DeskError::NotAPeer(_) => {
            Code::FailedPrecondition
        }
        DeskError::TooManyNotices(_) => Code::ResourceExhausted,
        DeskError::NoticeKeyUsed => Code::AlreadyExists,
        DeskError::NoticeRaced => Code::Aborted,
        DeskError::PlaceUnknown => Code::OutOfRange,
        DeskError::NotFound(_) | DeskError::Gone { .. } => Code::NotFound,
        DeskError::NotOwn(_) | DeskError::Incompatible(_) | DeskError::TooManyMatchKeys => {
            Code::FailedPrecondition
        }
        DeskError::ConfirmationNeeded(_)
        | DeskError::CategoryChanges { .. }
        | DeskError::SameIdentifier { .. }
        | DeskError::ImportEnded { .. }
        | DeskError::ExportBarred(_)
        | DeskError::LostState
        | DeskError::KeyEnded(_)
        | DeskError::ClockInDoubt(_) => Code::FailedPrecondition,
        DeskError::VersionMoved { .. } | DeskError::Raced(_) | DeskError::NoFreeId => Code::Aborted,
        DeskError::AlreadyImported(_) => Code::AlreadyExists,
        DeskError::Holding(_) => Code::DataLoss,
        DeskError::Store(error) => store_code(error),
    };
    let faults = error.faults();
    if faults.is_empty() {
        return refusal(code, error.reason(), &error.to_string());
    }
    let violation = |fault: &Fault| FieldViolation {
        field: fault.path.clone(),
        description: fault.said(),
        reason: fault.kind.reason().to_string(),
        localized_message: None,
    };
    let mut details =
        ErrorDetails::with_error_info(error.reason().as_str(), "entente", HashMap::new());
    details.set_bad_request(faults.iter().map(violation).collect::<Vec<_>>());
    Status::with_error_details(code, error.to_string(), details)
}
