//! Notices: send one to another authority's desk, list, open, and acknowledge them.

mod acknowledge;
mod list;
mod send;

pub use acknowledge::acknowledge_notice;
pub use list::{ListedNotice, NoticePage, NoticeState, WantedNotices, list_notices, open_notices};
pub use send::{Outgoing, send_notice};

use super::DeskError;
use crate::audit::{Event, Operation};
use crate::holding::{NoticeKey, read_notice};
use crate::id::{AuthorityId, NoticeId};
use crate::node::{Node, SharedNode};
use crate::notice::{Acknowledgement, Notice};
use crate::roles::Actor;
use crate::store::{HeldNotice, Notices, Peers, Read, Scan, Snapshot, StoreError};

/// Peers whose notices are looked through: ten times those that a node is sized for.
const PEERS_MAX: usize = 1024;

/// An opened notice.
pub struct OpenedNotice {
    /// What a list says of it.
    pub listed: ListedNotice,
    /// The notice as signed.
    pub notice: Notice,
    /// The word that it was read.
    pub acknowledgement: Option<Acknowledgement>,
    /// The 24 h desk of the other authority.
    pub contact: String,
}

/// Opens a notice, sent or received; the look is logged.
///
/// # Errors
/// [`DeskError::NoticeUnknown`] when it is not held; when the store failed.
pub async fn get_notice(
    node: &SharedNode,
    id: &NoticeId,
    actor: &Actor,
) -> Result<OpenedNotice, DeskError> {
    let (here, wanted) = (node.clone(), id.clone());
    let opened = node.store.read(move |now| open(&here, now, &wanted)).await?;
    let event = Event::new(Operation::Consult, "consult.notice_opened", &actor.name)
        .peer(&opened.listed.other)
        .with("notice", id.to_string());
    super::read::log(node, event, None).await?;
    Ok(opened)
}

fn open(node: &Node, now: &Snapshot<'_>, id: &NoticeId) -> Result<OpenedNotice, DeskError> {
    let unknown = || DeskError::NoticeUnknown(id.clone());
    let (key, held) = find(&node.authority, now, id)?.ok_or_else(unknown)?;
    let listed = list::listed(now, &key, &held)?;
    let (notice, acknowledgement) = read_notice(now, &key, &held)?;
    let contact = super::read::contact(node, &key.0);
    Ok(OpenedNotice { listed, notice, acknowledgement, contact })
}

/// What a list says of one notice.
///
/// # Errors
/// [`DeskError::NoticeUnknown`] when it is not held; when the store failed.
pub fn listed_notice(node: &Node, id: &NoticeId) -> Result<ListedNotice, DeskError> {
    let found = find(&node.authority, &node.store, id)?;
    let (key, held) = found.ok_or_else(|| DeskError::NoticeUnknown(id.clone()))?;
    Ok(list::listed(&node.store, &key, &held)?)
}

/// A notice by its id: that of a peer stands under the peer, an own one under whomever it was sent
/// to.
fn find(
    me: &AuthorityId,
    now: &impl Read,
    id: &NoticeId,
) -> Result<Option<(NoticeKey, HeldNotice)>, StoreError> {
    let others: Vec<AuthorityId> = if id.authority() == me {
        let peers = now.scan(Scan::<Peers>::all(), PEERS_MAX)?;
        peers.into_iter().map(|(peer, _)| peer).collect()
    } else {
        vec![id.authority().clone()]
    };
    for other in others {
        let key = (other, id.clone());
        if let Some(held) = now.get::<Notices>(&key)? {
            return Ok(Some((key, held)));
        }
    }
    Ok(None)
}
