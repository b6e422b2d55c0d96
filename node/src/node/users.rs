//! The record of a user, entered when a home is made and by administrators.

use crate::audit::Event;
use crate::store::{Committed, Tx, User, Users};

/// Enters a user; the event, with whom and which roles.
pub(crate) fn enter_user(tx: &mut Tx<'_>, name: &str, user: User, event: Event) -> Committed<User> {
    tx.put::<Users>(&name.to_owned(), &user);
    let roles: Vec<&str> = user.roles.iter().map(|role| role.as_str()).collect();
    let event = event.with("user", name).with("roles", roles);
    Committed::new(user, event)
}
