//! Who may call what, for every method, every role and every state of the record.

use std::collections::HashMap;
use std::sync::Arc;

use entente_node::id::{AuthorityId, Digest, Timestamp};
use entente_node::node::SharedNode;
use entente_node::roles::{Action, Role, allow};
use entente_node::server::door::Caller;
use entente_node::server::gate::{METHODS, judge};
use entente_node::store::{User, UserState};
use entente_node::trust::{Directory, Identity, Peer, PeerState};
use entente_tests::federation::Federation;

use crate::raw::reason;

const KEY: Digest = Digest([7; 32]);

/// What the caller is, and why it is refused wherever it calls; `None`: it depends on the method.
struct Case {
    caller: Caller,
    roles: Vec<Role>,
    refused: Option<&'static str>,
}

fn user(authority: &AuthorityId, name: &str, key: Digest) -> Caller {
    let identity = Identity::User(authority.clone(), name.to_owned());
    Caller { identity, key, ends_at: Timestamp::from_seconds(i64::MAX), revision: None }
}

fn peer(name: &str, revision: Option<u64>) -> Caller {
    let identity = Identity::Node(name.parse().expect("a name"));
    Caller { identity, key: KEY, ends_at: Timestamp::from_seconds(i64::MAX), revision }
}

/// Every set of roles, in every state, with the key of its record and with another.
fn users(node: &SharedNode) -> Vec<Case> {
    let (mut cases, mut records) = (Vec::new(), HashMap::new());
    for set in 1..1 << Role::ALL.len() {
        let roles: Vec<Role> = Role::ALL
            .into_iter()
            .enumerate()
            .filter(|(n, _)| set & 1 << n != 0)
            .map(|(_, role)| role)
            .collect();
        for state in [UserState::Active, UserState::Pending, UserState::Removed] {
            let name = format!("user-{set}-{}", state as u8);
            for key in [KEY, Digest([8; 32])] {
                let known = state == UserState::Active && key == KEY;
                cases.push(Case {
                    caller: user(&node.authority, &name, key),
                    roles: roles.clone(),
                    refused: (!known).then_some("unknown_user"),
                });
            }
            let by = || "administrator".to_owned();
            let record =
                User { roles: roles.clone(), key: KEY, state, added_by: by(), approved_by: None };
            records.insert(name, record);
        }
    }
    let all = Role::ALL.to_vec();
    let unregistered = user(&node.authority, "nobody", KEY);
    cases.push(Case { caller: unregistered, roles: all.clone(), refused: Some("unknown_user") });
    let foreign = user(&"se.polisen".parse().expect("a name"), "user-1-0", KEY);
    cases.push(Case { caller: foreign, roles: all.clone(), refused: Some("wrong_door") });
    let ended =
        Caller { ends_at: node.clock.now().plus(-1), ..user(&node.authority, "user-15-0", KEY) };
    cases.push(Case { caller: ended, roles: all, refused: Some("certificate_ended") });
    node.users.store(Arc::new(records));
    cases
}

/// Peers in every state, each at the revision of its record and at the one before.
fn peers(node: &SharedNode, held: &Peer) -> anyhow::Result<Vec<Case>> {
    let (mut cases, mut records) = (Vec::new(), Vec::new());
    let states = [PeerState::Active, PeerState::Pending, PeerState::Suspended, PeerState::Removed];
    for (name, state) in ["aa.one", "aa.two", "aa.three", "aa.four"].into_iter().zip(states) {
        for revision in [Some(3), Some(2), None] {
            let known = state == PeerState::Active && revision == Some(3);
            let refused = (!known).then_some("not_active");
            cases.push(Case { caller: peer(name, revision), roles: Vec::new(), refused });
        }
        records.push(Peer { authority: name.parse()?, state, revision: 3, ..held.clone() });
    }
    let unknown = peer("aa.five", Some(3));
    cases.push(Case { caller: unknown, roles: Vec::new(), refused: Some("not_active") });
    let ended = Caller { ends_at: node.clock.now().plus(-1), ..peer("aa.one", Some(3)) };
    cases.push(Case { caller: ended, roles: Vec::new(), refused: Some("certificate_ended") });
    node.directory.store(Arc::new(Directory::new(records)?));
    Ok(cases)
}

/// Why a caller is refused at a method; worked out from its path.
fn expected(case: &Case, path: &str) -> Option<&'static str> {
    let user = matches!(case.caller.identity, Identity::User(..));
    let ours = case.refused != Some("wrong_door");
    let (service, name) = path.trim_start_matches('/').split_once('/').expect("a path");
    let may = |action: Action| case.roles.iter().any(|role| allow(*role, action));
    let ended = case.refused.filter(|refused| *refused == "certificate_ended");
    let refused = match (service, user) {
        ("entente.exchange.v1.Exchange", true) => Some("wrong_door"),
        ("entente.desk.v1.Desk" | "entente.desk.v1.Notices", false) => Some("wrong_door"),
        ("entente.admin.v1.Admin" | "entente.admin.v1.Audit", false) => Some("wrong_door"),
        _ if !ours || case.refused.is_some() => case.refused,
        ("entente.exchange.v1.Exchange", false) => None,
        ("grpc.health.v1.Health", _) => None,
        (reflection, _) if reflection.starts_with("grpc.reflection.v1") => None,
        _ if name == "StartEpoch" => {
            let may = may(Action::ProposeEpoch) || may(Action::ApproveEpoch);
            (!may).then_some("wrong_role")
        }
        _ => {
            let action = Action::ALL.iter().find(|action| action.as_str() == name);
            (!may(*action.expect("an action of this name"))).then_some("wrong_role")
        }
    };
    ended.or(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_reaches_exactly_its_methods() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let node = federation.nodes[0].node();
    let held = node.directory.load().all().next().expect("a peer").peer.clone();
    let cases: Vec<Case> = users(node).into_iter().chain(peers(node, &held)?).collect();
    let mut allowed = 0;
    for method in METHODS {
        for case in &cases {
            let judged = judge(node, &case.caller, method.needs);
            let refused = judged.as_ref().err().map(reason);
            let wanted = expected(case, method.path);
            assert_eq!(refused.as_deref(), wanted, "{} {:?}", method.path, case.caller);
            allowed += usize::from(judged.is_ok());
        }
    }
    assert!(cases.len() == 107 && allowed > 300, "{} cases, {allowed} allowed", cases.len());
    federation.stop().await
}
