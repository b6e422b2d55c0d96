//! Every method of the doors: who may call it, and how much a call of it may use.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use crate::exchange::BATCH_BYTES_MAX;
use crate::roles::Action;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An active user, one of whose roles may do one of these.
    User(&'static [Action]),
    /// An active peer.
    Peer,
    /// An active user or an active peer.
    Known,
}

/// The messages of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One message, one answer.
    Unary,
    /// One message, many answers.
    Answers,
    /// Many messages, many answers.
    Both,
}

/// A method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// As in the request: `/package.Service/Method`.
    pub path: &'static str,
    /// Who may call it.
    pub needs: Needs,
    /// The messages of a call of it.
    pub shape: Shape,
    /// Largest message taken, in bytes.
    pub message_bytes_max: usize,
    /// Most memory of a call besides its message, in bytes: its answers on their way, and what it
    /// works on.
    pub holds_bytes: usize,
    /// How long its answer may take to begin.
    pub answers_within: Duration,
}

const KIB: usize = 1024;

/// Largest message to most methods of the desk: a draft or a policy with room to spare, so that one
/// that is too long is refused with a sentence about it.
const DESK_MESSAGE_BYTES_MAX: usize = 256 * KIB;

/// Largest search: sixteen identifiers and a name take a few hundred bytes.
const SEARCH_BYTES_MAX: usize = 16 * KIB;

/// Largest message with the text of a notice: 2 000 characters of four bytes with room to spare, so
/// that one that is too long is refused with a sentence about it.
const NOTICE_MESSAGE_BYTES_MAX: usize = 32 * KIB;

/// Largest message to the exchange door: a full batch, its head, and the framing of its items.
pub const EXCHANGE_MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 64 * KIB;

/// Largest message to methods that take nothing, or a name.
const SMALL_BYTES_MAX: usize = KIB;

/// Memory of every call: its task, and tonic's buffers for decoding and encoding.
const CALL_BYTES: usize = 32 * KIB;

/// How long most answers may take to begin: the slowest is a test of a peer, of eight steps of 5 s.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Like [`ANSWERS_WITHIN`], for calls that ask many peers in turn or read the whole log.
const LONG_ANSWERS_WITHIN: Duration = Duration::from_secs(900);

impl Method {
    const fn new(path: &'static str, needs: Needs, message_bytes_max: usize) -> Self {
        Self {
            path,
            needs,
            shape: Shape::Unary,
            message_bytes_max,
            holds_bytes: CALL_BYTES,
            answers_within: ANSWERS_WITHIN,
        }
    }

    const fn desk(path: &'static str, actions: &'static [Action]) -> Self {
        Self::new(path, Needs::User(actions), DESK_MESSAGE_BYTES_MAX)
    }

    const fn exchange(path: &'static str, message_bytes_max: usize) -> Self {
        Self::new(path, Needs::Peer, message_bytes_max)
    }

    const fn takes(self, message_bytes_max: usize) -> Self {
        Self { message_bytes_max, ..self }
    }

    const fn holds(self, more: usize) -> Self {
        Self { holds_bytes: CALL_BYTES + more, ..self }
    }

    const fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    const fn is_slow(self) -> Self {
        Self { answers_within: LONG_ANSWERS_WITHIN, ..self }
    }
}

use Action as A;
use Shape::{Answers, Both};

/// Every method. Any other is refused.
pub const METHODS: &[Method] = &[
    Method::desk("/entente.desk.v1.Desk/Whoami", &[A::Whoami]).takes(SMALL_BYTES_MAX),
    // An alert is in memory while it is signed, sealed and entered.
    Method::desk("/entente.desk.v1.Desk/CreateAlert", &[A::CreateAlert]).holds(64 * KIB),
    // The lines being processed, `desk::IMPORT_BYTES_OPEN_MAX`.
    Method::desk("/entente.desk.v1.Desk/ImportAlerts", &[A::ImportAlerts])
        .holds(1024 * KIB)
        .shape(Both),
    Method::desk("/entente.desk.v1.Desk/UpdateAlert", &[A::UpdateAlert]).holds(64 * KIB),
    Method::desk("/entente.desk.v1.Desk/WithdrawAlert", &[A::WithdrawAlert]).holds(64 * KIB),
    // A token and its content, 64 KiB each at most, read and then encoded.
    Method::desk("/entente.desk.v1.Desk/GetAlert", &[A::GetAlert]).holds(256 * KIB),
    // A thousand summaries.
    Method::desk("/entente.desk.v1.Desk/ListAlerts", &[A::ListAlerts]).holds(256 * KIB),
    Method::desk("/entente.desk.v1.Desk/WatchAlerts", &[A::WatchAlerts])
        .holds(64 * KIB)
        .shape(Answers),
    Method::desk("/entente.desk.v1.Desk/Search", &[A::Search])
        .takes(SEARCH_BYTES_MAX)
        .holds(64 * KIB)
        .shape(Answers),
    Method::desk("/entente.desk.v1.Desk/Status", &[A::Status]).takes(SMALL_BYTES_MAX),
    // A notice is kept whole while it is signed, sealed and entered.
    Method::desk("/entente.desk.v1.Notices/SendNotice", &[A::SendNotice])
        .takes(NOTICE_MESSAGE_BYTES_MAX)
        .holds(64 * KIB),
    // The records of all notices, of which a page is sent.
    Method::desk("/entente.desk.v1.Notices/ListNotices", &[A::ListNotices])
        .takes(SMALL_BYTES_MAX)
        .holds(2048 * KIB),
    Method::desk("/entente.desk.v1.Notices/GetNotice", &[A::GetNotice])
        .takes(SMALL_BYTES_MAX)
        .holds(64 * KIB),
    Method::desk("/entente.desk.v1.Notices/AcknowledgeNotice", &[A::AcknowledgeNotice])
        .takes(NOTICE_MESSAGE_BYTES_MAX),
    Method::desk("/entente.admin.v1.Admin/ExportDescriptor", &[A::ExportDescriptor]),
    Method::desk("/entente.admin.v1.Admin/ImportPeer", &[A::ImportPeer]),
    Method::desk("/entente.admin.v1.Admin/ListPeers", &[A::ListPeers]).holds(256 * KIB),
    Method::desk("/entente.admin.v1.Admin/ShowPeer", &[A::ShowPeer]),
    Method::desk("/entente.admin.v1.Admin/ApprovePeer", &[A::ApprovePeer]),
    Method::desk("/entente.admin.v1.Admin/SuspendPeer", &[A::SuspendPeer]),
    Method::desk("/entente.admin.v1.Admin/ResumePeer", &[A::ResumePeer]),
    Method::desk("/entente.admin.v1.Admin/RemovePeer", &[A::RemovePeer]),
    Method::desk("/entente.admin.v1.Admin/TestPeer", &[A::TestPeer]),
    Method::desk("/entente.admin.v1.Admin/RetryParked", &[A::RetryParked]),
    Method::desk("/entente.admin.v1.Admin/ListParked", &[A::ListParked]).holds(2048 * KIB),
    Method::desk("/entente.admin.v1.Admin/ShowPolicy", &[A::ShowPolicy]).holds(1024 * KIB),
    Method::desk("/entente.admin.v1.Admin/ApplyPolicy", &[A::ApplyPolicy]).holds(256 * KIB),
    Method::desk("/entente.admin.v1.Admin/ApprovePolicy", &[A::ApprovePolicy]).holds(256 * KIB),
    Method::desk("/entente.admin.v1.Admin/ExplainPolicy", &[A::ExplainPolicy]),
    Method::desk("/entente.admin.v1.Admin/ListUsers", &[A::ListUsers]).holds(2048 * KIB),
    Method::desk("/entente.admin.v1.Admin/AddUser", &[A::AddUser]),
    Method::desk("/entente.admin.v1.Admin/ApproveUser", &[A::ApproveUser]),
    Method::desk("/entente.admin.v1.Admin/RemoveUser", &[A::RemoveUser]),
    Method::desk("/entente.admin.v1.Admin/RecoverStatements", &[A::RecoverStatements]).is_slow(),
    Method::desk("/entente.admin.v1.Admin/ReviewEpoch", &[A::ReviewEpoch]),
    // The message says which of the two it is, so the handler checks again.
    Method::desk("/entente.admin.v1.Admin/StartEpoch", &[A::ProposeEpoch, A::ApproveEpoch]),
    Method::desk("/entente.admin.v1.Admin/Reload", &[A::Reload]),
    Method::desk("/entente.admin.v1.Admin/ConfirmClock", &[A::ConfirmClock]),
    // A page of the log, and the part of it that waits to be sent.
    Method::desk("/entente.admin.v1.Audit/ListEntries", &[A::ListEntries])
        .holds(1024 * KIB)
        .shape(Answers),
    Method::desk("/entente.admin.v1.Audit/Checkpoint", &[A::Checkpoint]).takes(SMALL_BYTES_MAX),
    // The hashes of a whole log; `server::audit` makes one at a time.
    Method::desk("/entente.admin.v1.Audit/Proof", &[A::Proof])
        .takes(SMALL_BYTES_MAX)
        .holds(4096 * KIB)
        .is_slow(),
    // Its receipts on their way.
    Method::exchange("/entente.exchange.v1.Exchange/Deliver", EXCHANGE_MESSAGE_BYTES_MAX)
        .holds(64 * KIB)
        .shape(Both),
    Method::exchange("/entente.exchange.v1.Exchange/Describe", SMALL_BYTES_MAX).holds(64 * KIB),
    // A page of statements, and those that wait to be sent.
    Method::exchange("/entente.exchange.v1.Exchange/Recover", SMALL_BYTES_MAX)
        .holds(2048 * KIB)
        .shape(Answers),
    Method::new("/grpc.health.v1.Health/Check", Needs::Known, SMALL_BYTES_MAX),
    Method::new("/grpc.health.v1.Health/Watch", Needs::Known, SMALL_BYTES_MAX).shape(Answers),
    Method::new(REFLECTION, Needs::Known, SMALL_BYTES_MAX).holds(256 * KIB).shape(Both),
    Method::new(REFLECTION_ALPHA, Needs::Known, SMALL_BYTES_MAX).holds(256 * KIB).shape(Both),
];

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The place of a method in [`METHODS`], and the method; `None` for an unknown path.
pub(super) fn find(path: &str) -> Option<(usize, &'static Method)> {
    static PLACES: LazyLock<HashMap<&str, usize>> = LazyLock::new(|| {
        METHODS.iter().enumerate().map(|(place, method)| (method.path, place)).collect()
    });
    let place = *PLACES.get(path)?;
    METHODS.get(place).map(|method| (place, method))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Path, whether many messages go in, and whether many answers come out, of every method in the
    /// files of the wire.
    fn declared(descriptors: &[u8]) -> Vec<(String, bool, bool)> {
        let set = FileDescriptorSet::decode(descriptors).unwrap();
        let mut methods = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    methods.push((path, method.client_streaming(), method.server_streaming()));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_that_is_served_stands_in_the_table_once() {
        let all = [
            entente_proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut declared: Vec<_> = all.into_iter().flat_map(declared).collect();
        declared.sort();
        let mut table: Vec<_> = METHODS
            .iter()
            .map(|method| {
                let shape = method.shape;
                (method.path.to_owned(), shape == Shape::Both, shape != Shape::Unary)
            })
            .collect();
        table.sort();
        assert_eq!(table, declared);
    }

    #[test]
    fn every_action_is_asked_for_by_one_method() {
        let asked: Vec<Action> = METHODS
            .iter()
            .flat_map(|method| match method.needs {
                Needs::User(actions) => actions,
                Needs::Peer | Needs::Known => &[],
            })
            .copied()
            .collect();
        assert_eq!(asked.len(), Action::ALL.len());
        for action in Action::ALL {
            assert!(asked.contains(action), "{action:?} is asked for by no method");
        }
        for method in METHODS {
            let Needs::User(actions) = method.needs else { continue };
            let name = method.path.rsplit('/').next().unwrap();
            let fits = actions.iter().any(|action| action.as_str() == name);
            assert!(fits || name == "StartEpoch", "{} asks for {actions:?}", method.path);
        }
    }

    #[test]
    fn paths_that_are_none_are_not_found() {
        assert_eq!(find("/entente.desk.v1.Desk/Search").unwrap().1.message_bytes_max, 16 * 1024);
        for path in ["", "/", "/entente.desk.v1.Desk/", "/entente.desk.v1.Desk/search", "Search"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
