//! Authorisation: actor, action, role, and one exhaustive `allow`. Roles come only from approved
//! records, never from a certificate.

use serde::{Deserialize, Serialize};

/// The role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Alerts and searches.
    Officer,
    /// The second person for trust, policy and users.
    Coordinator,
    /// Peers, policy, keys and users; sees no content.
    Administrator,
    /// The audit log.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] =
        [Self::Officer, Self::Coordinator, Self::Administrator, Self::Auditor];

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Officer => "officer",
            Self::Coordinator => "coordinator",
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
        }
    }

    /// Reads a role.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Who acts: a user whose record is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name in the certificate and the record.
    pub name: String,
    /// From the approved record.
    pub roles: Vec<Role>,
}

impl Actor {
    /// Whether one of the actor's roles may do `action`.
    pub fn may(&self, action: Action) -> bool {
        self.roles.iter().any(|role| allow(*role, action))
    }

    /// Like [`Actor::may`], while the node is stopped because it lost state. Its record of users is
    /// old then, so it lets in only those who review what is in force, and those who read the log.
    pub fn may_in_stop(&self, action: Action) -> bool {
        let mut roles = self.roles.iter().filter(|role| **role != Role::Officer);
        action.goes_on_in_stop() && roles.any(|role| allow(*role, action))
    }
}

impl Action {
    /// Whether the action is needed to read the restored record, to narrow it, and to confirm it.
    pub fn goes_on_in_stop(self) -> bool {
        use Action as A;
        match self {
            A::Whoami
            | A::Status
            | A::ExportDescriptor
            | A::ListPeers
            | A::ShowPeer
            | A::SuspendPeer
            | A::RemovePeer
            | A::TestPeer
            | A::ListParked
            | A::ShowPolicy
            | A::ApplyPolicy
            | A::ExplainPolicy
            | A::ListUsers
            | A::RemoveUser
            | A::RecoverStatements
            | A::ReviewEpoch
            | A::ProposeEpoch
            | A::ApproveEpoch
            | A::ConfirmClock
            | A::Reload
            | A::ListEntries
            | A::Checkpoint
            | A::Proof => true,
            A::CreateAlert
            | A::ImportAlerts
            | A::UpdateAlert
            | A::WithdrawAlert
            | A::GetAlert
            | A::ListAlerts
            | A::WatchAlerts
            | A::Search
            | A::SendNotice
            | A::ListNotices
            | A::GetNotice
            | A::AcknowledgeNotice
            | A::ImportPeer
            | A::ApprovePeer
            | A::ResumePeer
            | A::RetryParked
            | A::ApprovePolicy
            | A::AddUser
            | A::ApproveUser => false,
        }
    }
}

/// Declares the actions, one for each method of the desk door, so that none is forgotten in
/// [`Action::ALL`].
macro_rules! actions {
    ($($action:ident,)+) => {
        /// An action: one for each method of the desk door.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the method of its name")]
        pub enum Action {
            $($action,)+
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$action,)+];

            /// The method's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)+
                }
            }
        }
    };
}

actions!(
    Whoami,
    Status,
    CreateAlert,
    ImportAlerts,
    UpdateAlert,
    WithdrawAlert,
    GetAlert,
    ListAlerts,
    WatchAlerts,
    Search,
    SendNotice,
    ListNotices,
    GetNotice,
    AcknowledgeNotice,
    ExportDescriptor,
    ImportPeer,
    ListPeers,
    ShowPeer,
    ApprovePeer,
    SuspendPeer,
    ResumePeer,
    RemovePeer,
    TestPeer,
    RetryParked,
    ListParked,
    ShowPolicy,
    ApplyPolicy,
    ApprovePolicy,
    ExplainPolicy,
    ListUsers,
    AddUser,
    ApproveUser,
    RemoveUser,
    RecoverStatements,
    ReviewEpoch,
    ProposeEpoch,
    ApproveEpoch,
    Reload,
    ConfirmClock,
    ListEntries,
    Checkpoint,
    Proof,
);

/// Whether `role` may do `action`.
pub fn allow(role: Role, action: Action) -> bool {
    use Action as A;
    use Role as R;
    match action {
        A::Whoami | A::Status => true,
        A::CreateAlert
        | A::ImportAlerts
        | A::UpdateAlert
        | A::WithdrawAlert
        | A::GetAlert
        | A::ListAlerts
        | A::WatchAlerts
        | A::Search => role == R::Officer,
        A::SendNotice | A::ListNotices | A::GetNotice | A::AcknowledgeNotice => {
            matches!(role, R::Officer | R::Coordinator)
        }
        A::ListPeers | A::ShowPeer | A::ShowPolicy | A::ListUsers => role != R::Officer,
        A::ExportDescriptor
        | A::SuspendPeer
        | A::TestPeer
        | A::ListParked
        | A::ExplainPolicy
        | A::ReviewEpoch => matches!(role, R::Administrator | R::Coordinator),
        A::ApprovePeer | A::ResumePeer | A::ApprovePolicy | A::ApproveUser | A::ApproveEpoch => {
            role == R::Coordinator
        }
        A::ImportPeer
        | A::RemovePeer
        | A::RetryParked
        | A::ApplyPolicy
        | A::AddUser
        | A::RemoveUser
        | A::RecoverStatements
        | A::ProposeEpoch
        | A::Reload
        | A::ConfirmClock => role == R::Administrator,
        A::ListEntries | A::Checkpoint | A::Proof => role == R::Auditor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns are officer, coordinator, administrator, auditor; `x` means that the role may.
    /// Every action is listed once.
    const TABLE: &str = "
        Whoami            x x x x
        Status            x x x x
        CreateAlert       x . . .
        ImportAlerts      x . . .
        UpdateAlert       x . . .
        WithdrawAlert     x . . .
        GetAlert          x . . .
        ListAlerts        x . . .
        WatchAlerts       x . . .
        Search            x . . .
        SendNotice        x x . .
        ListNotices       x x . .
        GetNotice         x x . .
        AcknowledgeNotice x x . .
        ExportDescriptor  . x x .
        ImportPeer        . . x .
        ListPeers         . x x x
        ShowPeer          . x x x
        ApprovePeer       . x . .
        SuspendPeer       . x x .
        ResumePeer        . x . .
        RemovePeer        . . x .
        TestPeer          . x x .
        RetryParked       . . x .
        ListParked        . x x .
        ShowPolicy        . x x x
        ApplyPolicy       . . x .
        ApprovePolicy     . x . .
        ExplainPolicy     . x x .
        ListUsers         . x x x
        AddUser           . . x .
        ApproveUser       . x . .
        RemoveUser        . . x .
        RecoverStatements . . x .
        ReviewEpoch       . x x .
        ProposeEpoch      . . x .
        ApproveEpoch      . x . .
        Reload            . . x .
        ConfirmClock      . . x .
        ListEntries       . . . x
        Checkpoint        . . . x
        Proof             . . . x
    ";

    #[test]
    fn a_node_that_lost_state_lets_no_officer_in_and_widens_nothing() {
        let actor = |roles: &[Role]| Actor { name: "x".to_owned(), roles: roles.to_vec() };
        for action in Action::ALL {
            assert!(!actor(&[Role::Officer]).may_in_stop(*action), "{action:?}");
            let all = actor(&Role::ALL);
            assert_eq!(all.may_in_stop(*action), action.goes_on_in_stop(), "{action:?}");
        }
        let coordinator = actor(&[Role::Coordinator]);
        assert!(coordinator.may_in_stop(Action::ApproveEpoch));
        for widening in [Action::ResumePeer, Action::ApprovePolicy, Action::ApproveUser] {
            assert!(coordinator.may(widening) && !coordinator.may_in_stop(widening));
        }
    }

    #[test]
    fn every_role_may_do_exactly_what_the_table_says() {
        let rows: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| !row.is_empty())
            .collect();
        assert_eq!(rows.len(), Action::ALL.len());
        for (row, action) in rows.iter().zip(Action::ALL) {
            assert_eq!(row[0], action.as_str());
            for (cell, role) in row[1..].iter().zip(Role::ALL) {
                assert_eq!(*cell == "x", allow(role, *action), "{action:?} {role:?}");
            }
        }
    }
}
