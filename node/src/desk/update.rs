//! A new version replaces the one before. It keeps its end, within the retention of its category,
//! unless the draft names another. If peers hold another version than the one issued here, because
//! state was lost, the next one follows theirs.

use super::conflicts::{Confirmed, Conflicts, conflicts};
use super::issue::{enter, key_in_force, may_date, may_issue, next_version};
use super::read::{gone, own_alert};
use super::{DeskError, Issued, reason};
use crate::alert::{Draft, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::{forget_own, read_own};
use crate::id::{AlertId, Digest, Version};
use crate::matching::unsearchable;
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{CommitError, Committed, Growth, Own, OwnAlert, Snapshot};

/// Replaces the content of an own alert. `expected` is the version that the officer read; 0 for
/// any.
///
/// # Errors
/// When the alert is not a live own one, has a newer version, or the draft is refused.
pub async fn update(
    node: &SharedNode,
    id: &AlertId,
    expected: Version,
    draft: &str,
    override_reason: &str,
    actor: &Actor,
) -> Result<Issued, DeskError> {
    key_in_force(node)?;
    let read = |now: &Snapshot<'_>| before_update(node, now, id, expected, draft, override_reason);
    let Before { held, view: before, draft, conflict, followed } =
        node.store.read_blocking(read)?;
    let recategorised = recategorised(&before, &draft, override_reason)?;
    let (followed, previous) = followed;
    let version = followed + 1;
    let sealed = next_version(node, &draft, id, (version, previous))?;
    let event = Event::new(Operation::Alter, "alert.updated", &actor.name)
        .alert(id)
        .with("version", version)
        .with("jwt", sealed.view.jwt_digest.to_string());
    let mut warnings = conflict.warnings();
    warnings.extend(unsearchable(draft.content()));
    let event = conflict.noted(event).of_case(sealed.case);
    let event = match recategorised {
        Some((from, why)) => event.with("category_before", from).with("override_reason", why),
        None => event,
    };
    let (key, based_on) = (id.clone(), (held.version, held.jwt_digest));
    let committed = node.store.commit_growing(Growth::Content, move |tx| {
        may_issue(tx)?;
        conflict.unchanged(tx)?;
        let Some(own) = tx.get::<Own>(&key)? else { return Err(gone(tx, &key)?) };
        if (own.version, own.jwt_digest) != based_on {
            let (held, expected) = (own.version, based_on.0);
            return Err(DeskError::VersionMoved { id: key, held, expected });
        }
        if !exchange::heal_fork(tx, &key, followed)? {
            return Err(DeskError::VersionMoved { id: key, held: version, expected: followed });
        }
        forget_own(tx, &key, &own);
        enter(tx, &sealed, Some(own.feed), "updated");
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)?;
    if held.recovered {
        warnings.push(
            "this alert was recovered from peers: claims that no peer had were lost, so give them \
             all again"
                .to_owned(),
        );
    }
    Ok(Issued { id: id.clone(), version, warnings })
}

/// What an update is made from.
struct Before {
    held: OwnAlert,
    view: View,
    draft: Draft,
    conflict: Conflicts,
    followed: (Version, Digest),
}

fn before_update(
    node: &Node,
    now: &Snapshot<'_>,
    id: &AlertId,
    expected: Version,
    draft: &str,
    override_reason: &str,
) -> Result<Before, DeskError> {
    let held = own_alert(node, now, id)?;
    if expected != 0 && expected != held.version {
        return Err(DeskError::VersionMoved { id: id.clone(), held: held.version, expected });
    }
    may_date(node)?;
    let draft = Draft::parse(draft, node.clock.now())?;
    let latest = draft.content().category.map_or(0, |category| category.retention_s());
    let end = held.expires_at.min(node.clock.now().plus(latest));
    let draft = draft.ending_at(end);
    let confirmed = Confirmed::everything(override_reason);
    let conflict = conflicts(node, now, &draft, Some((id, &held)), confirmed)?;
    let view = read_own(now, id, &held)?;
    let followed = exchange::followed(now, id, (held.version, held.jwt_digest))?;
    Ok(Before { held, view, draft, conflict, followed })
}

/// The category that the alert had, if the draft changes it, and the officer's reason: the wrong
/// file must not turn a missing person into an object at every peer.
fn recategorised(
    before: &View,
    draft: &Draft,
    override_reason: &str,
) -> Result<Option<(&'static str, String)>, DeskError> {
    match (before.content.category, draft.content().category) {
        (Some(from), Some(to)) if from != to && override_reason.is_empty() => {
            Err(DeskError::CategoryChanges { from: from.as_str(), to: to.as_str() })
        }
        (Some(from), Some(to)) if from != to => Ok(Some((
            from.as_str(),
            reason("a reason with --override-reason", override_reason)?.to_owned(),
        ))),
        _ => Ok(None),
    }
}
