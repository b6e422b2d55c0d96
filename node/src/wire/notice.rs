//! The messages of the desk door about notices.

use entente_proto::desk as proto;
use tonic::Status;

use super::desk::optional;
use super::refusal::{Malformed, refusal};
use crate::desk::{ListedNotice, NoticePage, OpenedNotice, WantedNotices};
use crate::id::{NoticeId, Timestamp};
use crate::reason::Reason;

/// The id of a notice.
pub fn notice_id(text: &str) -> Result<NoticeId, Status> {
    text.parse().map_err(|error: crate::id::IdError| {
        refusal(tonic::Code::InvalidArgument, Reason::IdMalformed, &error.to_string())
    })
}

/// What a list is asked for.
pub fn wanted(asked: &proto::ListNoticesRequest) -> Result<WantedNotices, Malformed> {
    let sent = match asked.direction.as_str() {
        "" => None,
        "sent" => Some(true),
        "received" => Some(false),
        _ => return Err(Malformed("direction")),
    };
    let (other, state) = (optional(&asked.peer, "peer")?, optional(&asked.state, "state")?);
    Ok(WantedNotices { other, state, sent })
}

/// Where a page begins: behind this notice of the page before.
pub fn page_token(text: &str) -> Result<Option<(Timestamp, NoticeId)>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || Malformed("page_token");
    let (at, id) = text.split_once('/').ok_or_else(malformed)?;
    let at = at.parse().map_err(|_| malformed())?;
    Ok(Some((Timestamp::from_seconds(at), id.parse().map_err(|_| malformed())?)))
}

/// A page of a list.
pub fn page(page: NoticePage) -> proto::ListNoticesResponse {
    let next = page.next.map(|(at, id)| format!("{}/{id}", at.seconds()));
    proto::ListNoticesResponse {
        notices: page.notices.into_iter().map(listed).collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

/// An opened notice.
pub fn opened(opened: OpenedNotice) -> proto::Notice {
    proto::Notice {
        text: opened.notice.text,
        who: opened.acknowledgement.map(|said| said.who).unwrap_or_default(),
        contact: opened.contact,
        ..listed(opened.listed)
    }
}

/// What a list says of a notice.
pub fn listed(notice: ListedNotice) -> proto::Notice {
    let seconds = |at: Option<Timestamp>| at.map_or(0, Timestamp::seconds);
    proto::Notice {
        id: notice.id.to_string(),
        direction: if notice.sent { "sent" } else { "received" }.to_owned(),
        peer: notice.other.to_string(),
        state: notice.state.as_str().to_owned(),
        reason: notice.reason,
        about: notice.about.map(|about| about.to_string()).unwrap_or_default(),
        sent_by: notice.by,
        at: notice.at.seconds(),
        taken_at: seconds(notice.taken_at),
        acknowledged_at: seconds(notice.acknowledged_at),
        acknowledged_by: notice.acknowledged_by,
        ..proto::Notice::default()
    }
}
