//! Users of the desk door: a record binds a name to a key and to roles; a certificate alone grants
//! nothing.

use super::AdminError;
use crate::audit::{Event, Operation};
use crate::id::{Digest, Timestamp};
use crate::node::{Node, SharedNode, enter_user};
use crate::roles::{Actor, Role};
use crate::store::{Change, CommitError, Read, Scan, StoreError, Tx, User, UserState, Users};
use crate::trust::{Identity, check_leaf, key_digest};

/// Users of one authority.
const USERS_MAX: usize = 10_000;

/// The user who calls, by the name and key in the certificate; `None` when no active record
/// matches.
pub fn actor(node: &Node, name: &str, key: &Digest) -> Option<Actor> {
    let users = node.users.load();
    let user = users.get(name)?;
    let active = user.state == UserState::Active && user.key == *key;
    active.then(|| Actor { name: name.to_owned(), roles: user.roles.clone() })
}

/// Every user in the order of the names.
///
/// # Errors
/// When the store cannot be read.
pub fn users(node: &Node) -> Result<Vec<(String, User)>, StoreError> {
    node.store.scan(Scan::<Users>::all(), USERS_MAX)
}

/// Adds a user; another person approves it.
///
/// # Errors
/// When the certificate is not for a user of this authority with this name, or the user exists
/// already.
pub async fn add_user(
    node: &SharedNode,
    name: &str,
    roles: Vec<Role>,
    certificate: &[u8],
    actor: &Actor,
) -> Result<User, AdminError> {
    let key = checked(node, name, &roles, certificate, node.clock.now())?;
    let (name, by) = (name.to_owned(), actor.name.clone());
    let committed = node.store.commit(move |tx| {
        let held = tx.get::<Users>(&name)?;
        if held.is_some_and(|held| held.state != UserState::Removed) {
            return Err(AdminError::KnownUser);
        }
        let state = UserState::Pending;
        let user = User { roles, key, state, added_by: by.clone(), approved_by: None };
        let event = Event::new(Operation::User, "user.added", &by);
        Ok(enter_user(tx, &name, user, event))
    });
    changed(node, committed.await.map_err(CommitError::flatten)?)
}

fn checked(
    node: &Node,
    name: &str,
    roles: &[Role],
    certificate: &[u8],
    now: Timestamp,
) -> Result<Digest, AdminError> {
    if roles.is_empty() {
        return Err(AdminError::User("a user needs at least one role"));
    }
    match check_leaf(certificate, now)? {
        Identity::User(authority, named) if authority == node.authority && named == name => {}
        _ => {
            return Err(AdminError::User(
                "the certificate is not one for this user: its URI is \
                 entente://<authority>/user/<name>",
            ));
        }
    }
    Ok(key_digest(certificate)?)
}

/// Takes effect from the next call on.
fn changed(node: &Node, user: User) -> Result<User, AdminError> {
    node.refresh()?;
    node.store.announce(Change::Users);
    Ok(user)
}

/// A second person approves a user.
///
/// # Errors
/// When no user with this name is pending, or the person added the user or is the user.
pub async fn approve_user(
    node: &SharedNode,
    name: &str,
    actor: &Actor,
) -> Result<User, AdminError> {
    let (name, by) = (name.to_owned(), actor.name.clone());
    let committed = node.store.commit(move |tx| {
        let user = match tx.get::<Users>(&name)? {
            Some(user) if user.state == UserState::Pending => user,
            Some(user) if user.state == UserState::Active => return Err(AdminError::ActiveUser),
            _ => return Err(AdminError::UnknownUser),
        };
        if user.added_by == by || name == by {
            return Err(AdminError::SamePerson);
        }
        let approved_by = Some(by.clone());
        let user = User { state: UserState::Active, approved_by, ..user };
        let event = Event::new(Operation::User, "user.approved", &by);
        Ok(enter_user(tx, &name, user, event))
    });
    changed(node, committed.await.map_err(CommitError::flatten)?)
}

/// Removes a user; its next call is refused.
///
/// # Errors
/// When there is no such user, or it is the last active coordinator or administrator.
pub async fn remove_user(node: &SharedNode, name: &str, actor: &Actor) -> Result<User, AdminError> {
    let (name, by) = (name.to_owned(), actor.name.clone());
    let committed = node.store.commit(move |tx| {
        let user = tx.get::<Users>(&name)?.filter(|user| user.state != UserState::Removed);
        let user = user.ok_or(AdminError::UnknownUser)?;
        for role in [Role::Coordinator, Role::Administrator] {
            if user.roles.contains(&role) && is_last(tx, &name, role)? {
                return Err(AdminError::LastOne(role.as_str()));
            }
        }
        let user = User { state: UserState::Removed, ..user };
        let event = Event::new(Operation::User, "user.removed", &by);
        Ok(enter_user(tx, &name, user, event))
    });
    changed(node, committed.await.map_err(CommitError::flatten)?)
}

fn is_last(tx: &Tx<'_>, name: &str, role: Role) -> Result<bool, StoreError> {
    let others = tx.scan(Scan::<Users>::all(), USERS_MAX)?;
    let active = |(other, user): &(String, User)| {
        other != name && user.state == UserState::Active && user.roles.contains(&role)
    };
    Ok(!others.iter().any(active))
}
