//! Actor, action, role: one exhaustive `allow` (decision 10).

use serde::{Deserialize, Serialize};

/// What a person may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role { /// alerts, searches, requests
    Officer, /// second approver of trust and policy, statistics
    Coordinator, /// peers, policy, keys, users
    Administrator, /// the log
    Auditor }

/// Who acts: a user whose record is active, or the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor { /// user name, or `node`
    pub name: String, /// from the approved record
    pub roles: Vec<Role> }

/// What one may do: one for each method of the desk door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action { Placeholder }

/// Whether `role` may do `action`.
pub fn allow(role: Role, action: Action) -> bool { todo!() }
