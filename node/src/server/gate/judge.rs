//! Whether a caller may call a method at this moment, judged by the record in force and by nothing
//! in the request.

use tonic::{Code, Status};

use super::methods::Needs;
use crate::admin::actor;
use crate::exchange::{self, ReceiveError};
use crate::id::AuthorityId;
use crate::node::Node;
use crate::reason::Reason;
use crate::roles::{Action, Actor, Role, allow};
use crate::server::door::Caller;
use crate::trust::Identity;
use crate::wire::exchange::receive_status;
use crate::wire::refusal::refusal;

/// The caller, according to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// An active user.
    User(Actor),
    /// An active peer.
    Peer(AuthorityId),
}

/// Judges `caller` by the present record. Refuses a peer whose record changed since its connection
/// began: its roots may no longer vouch for the other end.
///
/// # Errors
/// When its certificate has expired, or it is unknown, not active, at the wrong door, or has no
/// role that may.
pub fn judge(node: &Node, caller: &Caller, needs: Needs) -> Result<Judged, Status> {
    if node.clock.now() > caller.ends_at {
        let message = format!(
            "the certificate of {} ended on {}: renew it, then call again",
            name(&caller.identity),
            caller.ends_at
        );
        return Err(refusal(Code::Unauthenticated, Reason::CertificateEnded, &message));
    }
    match (&caller.identity, needs) {
        (Identity::Node(peer), Needs::Peer | Needs::Known) => {
            match node.directory.load().revision(peer) {
                Some(now) if Some(now) == caller.revision => Ok(Judged::Peer(peer.clone())),
                _ => Err(receive_status(&ReceiveError::NotActive)),
            }
        }
        (Identity::User(authority, name), Needs::User(_) | Needs::Known)
            if *authority == node.authority =>
        {
            let actor = actor(node, name, &caller.key).ok_or_else(unknown_user)?;
            match needs {
                Needs::User(actions) => {
                    held_to(&actor, actions)?;
                    let_in(node, &actor, actions)?;
                }
                Needs::Peer | Needs::Known => {}
            }
            Ok(Judged::User(actor))
        }
        _ => Err(wrong_door()),
    }
}

/// Whether one of the actor's roles may do one of `actions`.
///
/// # Errors
/// When none may; says which roles may.
pub fn held_to(actor: &Actor, actions: &[Action]) -> Result<(), Status> {
    if actions.iter().any(|action| actor.may(*action)) {
        return Ok(());
    }
    let words =
        |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
    let may = |role: &Role| actions.iter().any(|action| allow(*role, *action));
    let wanted: Vec<Role> = Role::ALL.into_iter().filter(may).collect();
    let message = format!(
        "this takes the role {}, and {} has {}: use the profile of somebody who has it",
        words(&wanted),
        actor.name,
        words(&actor.roles)
    );
    Err(refusal(Code::PermissionDenied, Reason::WrongRole, &message))
}

/// While the node is stopped because it lost state, its record of users is old: only those who are
/// needed to review what is in force are let in. Nobody else is while that can't be read.
fn let_in(node: &Node, actor: &Actor, actions: &[Action]) -> Result<(), Status> {
    let stopped = exchange::lost_state(node);
    if matches!(stopped, Ok(false)) || actions.iter().any(|action| actor.may_in_stop(*action)) {
        return Ok(());
    }
    if stopped.is_err() {
        let message = "the store of this node does not answer; try again later";
        return Err(refusal(Code::Unavailable, Reason::StoreUnavailable, message));
    }
    let message = "this node lost state, and does nothing until two people have reviewed what is \
                   in force: an administrator runs `entente epoch recover`, then `entente epoch \
                   show`";
    Err(refusal(Code::FailedPrecondition, Reason::LostState, message))
}

fn name(identity: &Identity) -> String {
    match identity {
        Identity::Node(peer) => peer.to_string(),
        Identity::User(_, name) => name.clone(),
    }
}

fn unknown_user() -> Status {
    let message = "no active user of this node has this name and key: an administrator adds it \
                   with `entente user add`";
    refusal(Code::PermissionDenied, Reason::UnknownUser, message)
}

fn wrong_door() -> Status {
    let message = "this certificate is for the other door of this node";
    refusal(Code::PermissionDenied, Reason::WrongDoor, message)
}
