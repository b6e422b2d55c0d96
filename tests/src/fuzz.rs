//! What must hold for any bytes that others send: the bodies of the fuzz targets (tests/fuzz),
//! which ordinary tests run too (tests/tests/fuzz.rs). None may panic; each holds what it names.

use entente_node::admin::Described;
use entente_node::alert::{self, ClaimSet, Draft, View, verify_withdrawal};
use entente_node::exchange::{HEAD_TYP, RECEIPT_TYP, Receipt};
use entente_node::id::{AuthorityId, Entropy, Timestamp};
use entente_node::jose::{self, PublicKey, SdJwt, SigningKey};
use entente_node::policy::Policy;
use entente_node::trust::SignedDescriptor;
use entente_node::wire;
use entente_node::wire::exchange::{FromReceiver, FromSender};
use entente_proto::{admin, desk, exchange};
use prost::Message;
use serde_json::Value;

/// A target: its name, and what runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every one; tests/fuzz has a program for each.
pub const TARGETS: [Target; 5] =
    [("jws", jws), ("sd_jwt", sd_jwt), ("draft", draft), ("policy", policy), ("wire", wire)];

/// Bytes that a message to people has at most, whatever was wrong.
const TOLD_BYTES_MAX: usize = 64 * 1024;

/// Who signs what is valid.
pub fn signer() -> SigningKey {
    SigningKey::generate(&Entropy::seeded(1))
}

/// When all this happens: 2026-11-01.
pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_793_491_200)
}

/// Whose word is taken: the signer's, whatever key is named, so that signatures decide.
fn key_of_all() -> Option<PublicKey> {
    Some(signer().public())
}

/// A JWS: what is taken has the one form that its signer gave it.
pub fn jws(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for typ in [HEAD_TYP, RECEIPT_TYP] {
        let verified = jose::verify::<Value>(typ, text, |_| key_of_all());
        if let Ok(payload) = verified {
            let again = jose::peek::<Value>(typ, text).expect("what verifies can be read");
            assert_eq!(again, payload);
            assert_eq!(text.split('.').count(), 3);
        }
        let _ = jose::peek::<Value>(typ, text);
    }
    let _ = jose::verify::<Receipt>(RECEIPT_TYP, text, |_| key_of_all());
    let _ = verify_withdrawal(text, |_, _| key_of_all(), now());
    if let Ok(descriptor) = SignedDescriptor::parse(text) {
        assert_eq!(descriptor.jws(), text);
    }
}

/// An SD-JWT: it is kept byte for byte, and fewer disclosures never show more.
pub fn sd_jwt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = SdJwt::parse(text) {
        assert_eq!(token.to_text(), text, "it was encoded anew");
        let _ = token.read();
    }
    let nobody = alert::verify(text, |_, _| None, now());
    assert!(nobody.is_err(), "an alert of an unknown issuer was taken");
    let _ = alert::verify(text, |_, _| key_of_all(), now());
    if let Ok(view) = alert::read(text) {
        shows_no_more(&view);
    }
}

fn shows_no_more(view: &View) {
    assert_eq!(view.disclose(view.claims).ok().as_deref(), Some(view.token.as_str()));
    for name in view.claims.names() {
        let claims = ClaimSet::parse(name).expect("a claim of the catalogue");
        let fewer = view.disclose(claims).expect("what was read can be disclosed");
        let fewer = alert::read(&fewer).expect("what was disclosed can be read");
        assert!(fewer.claims.is_subset(claims), "{name}: {:?}", fewer.claims);
        assert_eq!(fewer.jwt_digest, view.jwt_digest);
    }
}

/// A draft: what is taken can be issued and read, and what is refused is refused in bounds.
pub fn draft(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Draft::parse(text, now()) {
        Ok(draft) => {
            let id = "dk.politi:2026-481920375".parse().expect("an id");
            let (key, entropy) = (signer(), Entropy::seeded(2));
            let issued = alert::issue(&draft, id, 1, None, now(), &key, &entropy);
            if let Ok(view) = issued {
                let read = alert::verify(&view.token, |_, _| key_of_all(), now());
                assert_eq!(read.map(|read| read.claims), Ok(view.claims));
            }
        }
        Err(error) => told(&error.to_string()),
    }
}

/// A policy: what is taken decides about anything, and gives nothing to whom no rule names.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            let peer: AuthorityId = "fr.police-judiciaire".parse().expect("a name");
            let facts = facts();
            let decision = policy.decide(&peer, &facts, now());
            assert_eq!(decision, policy.decide(&peer, &facts, now()), "it is no pure function");
            if policy.rules().is_empty() {
                assert!(decision.rule.is_none());
            }
        }
        Err(error) => told(&error.to_string()),
    }
}

fn facts() -> alert::Facts {
    alert::Facts {
        category: "missing_protect".parse().ok(),
        exploitation: Vec::new(),
        urgency: None,
        handling: Vec::new(),
        subject_categories: Vec::new(),
    }
}

/// Sentences are bounded, and hold nothing that moves a terminal's cursor.
fn told(sentence: &str) {
    assert!(sentence.len() < TOLD_BYTES_MAX, "{} bytes are told", sentence.len());
    assert!(!sentence.contains('\u{1b}'), "an escape sequence is told");
}

/// The messages of each package: decoded from any bytes, and encoded again.
macro_rules! messages {
    ($($package:ident: $($message:ident)+;)+) => {
        /// Names of all messages, with their package.
        pub const MESSAGES: &[(&str, &str)] =
            &[$($((stringify!($package), stringify!($message)),)+)+];

        fn decoded(data: &[u8]) {
            $($(again::<$package::$message>(data);)+)+
        }
    };
}

messages! {
    exchange: FromSender Hello Batch Item FromReceiver Resume Receipt DescribeRequest
        DescribeResponse RecoverRequest RecoverResponse;
    desk: SendNoticeRequest ListNoticesRequest ListNoticesResponse GetNoticeRequest
        AcknowledgeNoticeRequest Notice WhoamiRequest WhoamiResponse CreateAlertRequest ImportLine
        ImportResult Refusal Fault
        UpdateAlertRequest WithdrawAlertRequest GetAlertRequest Alert ListAlertsRequest
        ListAlertsResponse AlertSummary WatchAlertsRequest Change SearchRequest Identifier
        SearchResponse Hit SearchSummary StatusRequest StatusResponse Clock Reason PeerStatus;
    admin: ExportDescriptorRequest ExportDescriptorResponse ImportPeerRequest PeerRequest
        ApprovePeerRequest ChangePeerRequest Peer ListPeersRequest ListPeersResponse
        TestPeerResponse TestStep RetryParkedResponse ListParkedResponse Parked ShowPolicyRequest
        Policy PolicyProposal ApplyPolicyRequest ApplyPolicyResponse ApprovePolicyRequest
        ExplainPolicyRequest ExplainPolicyResponse ListUsersRequest ListUsersResponse User
        AddUserRequest UserRequest RecoverStatementsRequest RecoverStatementsResponse
        StartEpochRequest StartEpochResponse ConfirmClockRequest ConfirmClockResponse
        ReviewEpochRequest EpochReview ReviewedPeer EpochProposal ReloadRequest ReloadResponse
        ListEntriesRequest Entry CheckpointRequest CheckpointResponse ProofRequest ProofResponse;
}

fn again<M: Message + Default + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(message) = M::decode(data) {
        let again = M::decode(message.encode_to_vec().as_slice());
        assert_eq!(again.as_ref(), Ok(&message), "a message changes when it is encoded");
    }
}

/// Every message of the wire, and what the doors make of those that they take apart: what is taken
/// is sent on as the same message.
pub fn wire(data: &[u8]) {
    decoded(data);
    if let Ok(message) = exchange::FromSender::decode(data)
        && let Ok(taken) = FromSender::try_from(message)
    {
        let sent = exchange::FromSender::from(taken);
        let taken = FromSender::try_from(sent.clone()).expect("taken before");
        assert_eq!(exchange::FromSender::from(taken), sent);
    }
    if let Ok(message) = exchange::FromReceiver::decode(data)
        && let Ok(taken) = FromReceiver::try_from(message)
    {
        let sent = exchange::FromReceiver::from(taken);
        let taken = FromReceiver::try_from(sent.clone()).expect("taken before");
        assert_eq!(exchange::FromReceiver::from(taken), sent);
    }
    if let Ok(message) = exchange::DescribeResponse::decode(data) {
        let _ = Described::from(message);
    }
    if let Ok(request) = desk::SearchRequest::decode(data)
        && let Err(status) = wire::desk::search(request)
    {
        told(status.message());
    }
    if let Ok(request) = desk::ListAlertsRequest::decode(data) {
        let _ = wire::desk::wanted(&request);
    }
    if let Ok(line) = desk::ImportLine::decode(data) {
        let _ = wire::desk::import_line(line);
    }
    if let Ok(request) = desk::GetAlertRequest::decode(data)
        && let Err(status) = wire::desk::alert_id(&request.id)
    {
        told(status.message());
    }
}
