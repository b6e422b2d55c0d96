//! What others start: both doors, their limits, who is calling, and whether they may.

pub mod admin;
pub mod audit;
pub mod desk;
pub mod door;
pub mod exchange;

use tonic::{Code, Request, Status};

use crate::admin::actor;
use crate::node::Node;
use crate::roles::{Action, Actor, Role, allow};
use crate::wire::exchange::refusal;

/// The caller, if an active record with a role that may do `action` stands behind the certificate: looked up at each
/// call, so that a removed user's next call is refused.
///
/// # Errors
/// When the caller is a node, not known, or may not.
fn authorise<T>(node: &Node, request: &Request<T>, action: Action) -> Result<Actor, Status> {
    let (name, key) = door::user(request)?;
    let Some(actor) = actor(node, &name, &key) else {
        let message = "no active user of this node has this name and key: an administrator adds it with `entente user add`";
        return Err(refusal(Code::PermissionDenied, "unknown_user", message));
    };
    if actor.may(action) {
        return Ok(actor);
    }
    tracing::info!(user = name, action = action.as_str(), "a call was refused: wrong role");
    let words =
        |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
    let wanted: Vec<Role> = Role::ALL.into_iter().filter(|role| allow(*role, action)).collect();
    let message = format!(
        "this takes the role {}, and {name} has {}: use the profile of somebody who has it",
        words(&wanted),
        words(&actor.roles)
    );
    Err(refusal(Code::PermissionDenied, "wrong_role", &message))
}
