//! The two doors: who comes in, what each role may call, and what is refused before it is looked
//! at.

use std::time::Duration;

use entente_node::admin;
use entente_node::home::{Layout, check};
use entente_node::id::Clock;
use entente_node::pki::{self, Authority};
use entente_node::roles::{Action, Role, allow};
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::audit_client::AuditClient;
use entente_proto::admin::*;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::notices_client::NoticesClient;
use entente_proto::desk::{
    AcknowledgeNoticeRequest, CreateAlertRequest, GetAlertRequest, GetNoticeRequest, Identifier,
    ImportLine, ListAlertsRequest, ListNoticesRequest, SearchRequest, SendNoticeRequest,
    StatusRequest, UpdateAlertRequest, WatchAlertsRequest, WhoamiRequest, WithdrawAlertRequest,
};
use entente_proto::exchange::DescribeRequest;
use entente_proto::exchange::exchange_client::ExchangeClient;
use entente_tests::federation::{Federation, TestNode, person};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Calls a method with as little as it takes; what counts is whether the role is refused.
async fn call(channel: Channel, action: Action) -> Result<(), Status> {
    use Action as A;
    let mut desk = DeskClient::new(channel.clone());
    let mut notices = NoticesClient::new(channel.clone());
    let mut admin = AdminClient::new(channel.clone());
    let mut audit = AuditClient::new(channel);
    let peer = || PeerRequest::default();
    match action {
        A::Whoami => desk.whoami(WhoamiRequest {}).await.map(drop),
        A::Status => desk.status(StatusRequest {}).await.map(drop),
        A::CreateAlert => desk.create_alert(CreateAlertRequest::default()).await.map(drop),
        A::ImportAlerts => {
            desk.import_alerts(tokio_stream::iter(Vec::<ImportLine>::new())).await.map(drop)
        }
        A::UpdateAlert => desk.update_alert(UpdateAlertRequest::default()).await.map(drop),
        A::WithdrawAlert => desk.withdraw_alert(WithdrawAlertRequest::default()).await.map(drop),
        A::GetAlert => desk.get_alert(GetAlertRequest::default()).await.map(drop),
        A::ListAlerts => desk.list_alerts(ListAlertsRequest::default()).await.map(drop),
        A::WatchAlerts => desk.watch_alerts(WatchAlertsRequest::default()).await.map(drop),
        A::Search => desk.search(SearchRequest::default()).await.map(drop),
        A::SendNotice => notices.send_notice(SendNoticeRequest::default()).await.map(drop),
        A::ListNotices => notices.list_notices(ListNoticesRequest::default()).await.map(drop),
        A::GetNotice => notices.get_notice(GetNoticeRequest::default()).await.map(drop),
        A::AcknowledgeNotice => {
            notices.acknowledge_notice(AcknowledgeNoticeRequest::default()).await.map(drop)
        }
        A::ExportDescriptor => admin.export_descriptor(ExportDescriptorRequest {}).await.map(drop),
        A::ImportPeer => admin.import_peer(ImportPeerRequest::default()).await.map(drop),
        A::ListPeers => admin.list_peers(ListPeersRequest {}).await.map(drop),
        A::ShowPeer => admin.show_peer(peer()).await.map(drop),
        A::ApprovePeer => admin.approve_peer(ApprovePeerRequest::default()).await.map(drop),
        A::SuspendPeer => admin.suspend_peer(ChangePeerRequest::default()).await.map(drop),
        A::ResumePeer => admin.resume_peer(ChangePeerRequest::default()).await.map(drop),
        A::RemovePeer => admin.remove_peer(ChangePeerRequest::default()).await.map(drop),
        A::TestPeer => admin.test_peer(peer()).await.map(drop),
        A::RetryParked => admin.retry_parked(peer()).await.map(drop),
        A::ListParked => admin.list_parked(peer()).await.map(drop),
        A::ShowPolicy => admin.show_policy(ShowPolicyRequest::default()).await.map(drop),
        A::ApplyPolicy => {
            let asked = ApplyPolicyRequest { dry_run: true, ..Default::default() };
            admin.apply_policy(asked).await.map(drop)
        }
        A::ApprovePolicy => admin.approve_policy(ApprovePolicyRequest::default()).await.map(drop),
        A::ExplainPolicy => admin.explain_policy(ExplainPolicyRequest::default()).await.map(drop),
        A::ListUsers => admin.list_users(ListUsersRequest {}).await.map(drop),
        A::AddUser => admin.add_user(AddUserRequest::default()).await.map(drop),
        A::ApproveUser => admin.approve_user(UserRequest::default()).await.map(drop),
        A::RemoveUser => admin.remove_user(UserRequest::default()).await.map(drop),
        A::RecoverStatements => {
            admin.recover_statements(RecoverStatementsRequest {}).await.map(drop)
        }
        A::ReviewEpoch => admin.review_epoch(ReviewEpochRequest {}).await.map(drop),
        A::ProposeEpoch => admin.start_epoch(StartEpochRequest::default()).await.map(drop),
        A::ApproveEpoch => {
            let asked = StartEpochRequest { approve: 1, ..Default::default() };
            admin.start_epoch(asked).await.map(drop)
        }
        A::ConfirmClock => admin.confirm_clock(ConfirmClockRequest::default()).await.map(drop),
        A::Reload => admin.reload(ReloadRequest {}).await.map(drop),
        A::ListEntries => audit.list_entries(ListEntriesRequest::default()).await.map(drop),
        A::Checkpoint => audit.checkpoint(CheckpointRequest {}).await.map(drop),
        A::Proof => audit.proof(ProofRequest::default()).await.map(drop),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_reaches_exactly_its_methods() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    for role in Role::ALL {
        let channel = federation.nodes[0].desk(role.as_str()).await?;
        for action in Action::ALL {
            let refused = call(channel.clone(), *action).await.err();
            let wrong_role = refused.as_ref().is_some_and(|status| reason(status) == "wrong_role");
            assert_eq!(!wrong_role, allow(role, *action), "{role:?} {action:?}: {refused:?}");
        }
    }
    federation.stop().await
}

/// Whether a call gets through: a handshake that is refused shows at the first call.
async fn whoami(channel: anyhow::Result<Channel>) -> Result<String, String> {
    let channel = channel.map_err(|error| error.to_string())?;
    let answer = DeskClient::new(channel).whoami(WhoamiRequest {}).await;
    answer.map(|me| me.into_inner().user).map_err(|status| {
        let reason = reason(&status);
        if reason.is_empty() { "transport".to_owned() } else { reason }
    })
}

async fn describe(channel: anyhow::Result<Channel>) -> Result<String, String> {
    let channel = channel.map_err(|error| error.to_string())?;
    let answer = ExchangeClient::new(channel).describe(DescribeRequest {}).await;
    answer.map(|they| they.into_inner().authority).map_err(|status| {
        let reason = reason(&status);
        if reason.is_empty() { "transport".to_owned() } else { reason }
    })
}

/// A user certificate from any CA, written below the node's home.
fn minted(
    node: &TestNode,
    ca: &Authority,
    name: &str,
    file: &str,
) -> anyhow::Result<[std::path::PathBuf; 2]> {
    let issued = ca.user(&node.authority, name, Clock::system().now())?;
    pki::write_issued(&node.home, file, &issued)?;
    Ok([node.home.join(format!("{file}.pem")), node.home.join(format!("{file}.key"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_certificates_come_in_and_only_through_their_door() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (desk, exchange) = (dk.running().desk, dk.running().exchange);
    assert_eq!(whoami(dk.desk("officer").await).await, Ok("officer".to_owned()));
    assert_eq!(describe(dk.as_peer(fr).await).await, Ok("dk.politi".to_owned()));
    // The wrong door, either way.
    assert!(describe(dk.call("officer", exchange).await).await.is_err());
    let node = Layout::new(&fr.home);
    let at_desk = dk.connect(&node.certificate(), &node.certificate_key(), desk).await;
    assert!(whoami(at_desk).await.is_err());
    // A stranger with a CA of its own, for a name of ours and for a name nobody knows.
    let stranger = Authority::new("stranger", Clock::system().now())?;
    let [pem, key] = minted(dk, &stranger, "officer", "forged")?;
    assert!(whoami(dk.connect(&pem, &key, desk).await).await.is_err());
    for authority in [&fr.authority, &"se.polisen".parse()?] {
        let issued = stranger.node(authority, &[], Clock::system().now())?;
        let file = format!("forged-{authority}");
        pki::write_issued(&dk.home, &file, &issued)?;
        let (pem, key) = (dk.home.join(format!("{file}.pem")), dk.home.join(format!("{file}.key")));
        assert!(describe(dk.connect(&pem, &key, exchange).await).await.is_err(), "{authority}");
    }
    // Our own CA, the right name and another key: a certificate grants nothing.
    let users = Layout::new(&dk.home).users();
    let ca = Authority::open(
        &std::fs::read_to_string(users.join("ca.pem"))?,
        &std::fs::read_to_string(users.join("ca.key"))?,
    )?;
    let [pem, key] = minted(dk, &ca, "officer", "second-officer")?;
    let second = whoami(dk.connect(&pem, &key, desk).await).await;
    assert_eq!(second, Err("unknown_user".to_owned()));
    // A removed user's next call is refused, on the connection it has.
    let open = dk.desk("auditor").await?;
    assert!(whoami(Ok(open.clone())).await.is_ok());
    admin::remove_user(dk.node(), "auditor", &person(Role::Administrator)).await?;
    assert_eq!(whoami(Ok(open)).await, Err("unknown_user".to_owned()));
    assert_eq!(whoami(dk.desk("officer").await).await, Ok("officer".to_owned()));
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_works_once_two_people_let_it() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let users = Layout::new(&dk.home).users();
    let ca = Authority::open(
        &std::fs::read_to_string(users.join("ca.pem"))?,
        &std::fs::read_to_string(users.join("ca.key"))?,
    )?;
    let [pem, key] = minted(dk, &ca, "jensen", "jensen")?;
    let certificate = std::fs::read_to_string(&pem)?;
    let mut one = AdminClient::new(dk.desk("administrator").await?);
    let roles = vec!["officer".to_owned()];
    let asked = AddUserRequest { name: "jensen".to_owned(), roles, certificate };
    let wrong = AddUserRequest { name: "hansen".to_owned(), ..asked.clone() };
    assert_eq!(reason(&one.add_user(wrong).await.unwrap_err()), "user_refused");
    one.add_user(asked).await?;
    let come = || async { whoami(dk.connect(&pem, &key, dk.running().desk).await).await };
    assert_eq!(come().await, Err("unknown_user".to_owned()), "not before it is approved");
    let mut two = AdminClient::new(dk.desk("coordinator").await?);
    two.approve_user(UserRequest { name: "jensen".to_owned() }).await?;
    assert_eq!(come().await, Ok("jensen".to_owned()));
    federation.stop().await
}

/// Refused before anything is done, each with its code; the desk then works as before.
#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_a_reason() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let search = |identifiers: usize| SearchRequest {
        case_ref: "case".to_owned(),
        offence: "labour".to_owned(),
        subject_category: "missing".to_owned(),
        aim: "identify".to_owned(),
        identifiers: vec![
            Identifier {
                r#type: "passport".to_owned(),
                country: "DK".to_owned(),
                number: "P1234567".to_owned()
            };
            identifiers
        ],
        ..Default::default()
    };
    let with = |change: fn(&mut SearchRequest)| {
        let mut asked = search(1);
        change(&mut asked);
        asked
    };
    for (asked, expected) in [
        (search(17), "search_too_many_values"),
        (search(0), "search_too_weak"),
        (with(|s| s.case_ref.clear()), "reason_missing"),
        (with(|s| s.case_ref = "x".repeat(501)), "reason_missing"),
        (with(|s| s.offence = "murder".to_owned()), "malformed_message"),
        (with(|s| s.aim = "curiosity".to_owned()), "malformed_message"),
        (with(|s| s.identifiers[0].number = "\u{202e}P12".to_owned()), "value_not_permitted"),
        (with(|s| s.family_name = "Hansen".to_owned()), "search_too_weak"),
    ] {
        let status = officer.search(asked).await.expect_err(expected);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, expected));
        assert!(!status.message().contains("Hansen"), "no value in a message");
    }
    for (draft, expected) in [
        ("", "json_malformed"),
        ("{", "json_malformed"),
        ("[]", "json_malformed"),
        ("{\"category\":\"missing_protect\",\"category\":\"missing_protect\"}", "duplicate_member"),
        ("{\"category\":\"murder\"}", "json_malformed"),
    ] {
        let asked = CreateAlertRequest { draft: draft.to_owned(), ..Default::default() };
        let status = officer.create_alert(asked).await.expect_err(expected);
        assert_eq!(status.code(), Code::InvalidArgument, "{draft}: {status:?}");
        assert!(!reason(&status).is_empty(), "{draft}: {expected}");
    }
    let huge = CreateAlertRequest { draft: " ".repeat(300 * 1024), ..Default::default() };
    let status = officer.create_alert(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    // Bytes that are no message, and a string that is no UTF-8.
    let mut raw = tonic::client::Grpc::new(dk.desk("officer").await?);
    for bytes in [vec![0xff; 40], vec![0x0a, 0x02, 0xc3, 0x28], vec![0x0a, 0xff, 0xff, 0xff, 0x7f]]
    {
        raw.ready().await?;
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(
            "/entente.desk.v1.Desk/CreateAlert",
        );
        let answer = raw.unary(tonic::Request::new(bytes), path, Bytes).await;
        let status = answer.expect_err("no message");
        assert!(matches!(status.code(), Code::Internal | Code::InvalidArgument), "{status:?}");
    }
    let answered = officer.search(search(1)).await?.into_inner().message().await?;
    assert!(answered.is_some(), "and the desk works as before");
    tokio::time::sleep(Duration::from_millis(10)).await;
    federation.stop().await
}

/// Sends bytes as they are.
#[derive(Clone, Copy)]
struct Bytes;

impl tonic::codec::Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(
        &mut self,
        item: Vec<u8>,
        into: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), Status> {
        bytes::BufMut::put_slice(into, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(
        &mut self,
        from: &mut tonic::codec::DecodeBuf<'_>,
    ) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf;
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// What would stop a node is named before it is started.
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_found_by_a_check() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let dk = &mut federation.nodes[0];
    let desk = dk.running().desk;
    dk.stop().await?;
    let addresses = || {
        let findings = check(&dk.home, &Clock::system());
        findings.into_iter().find(|finding| finding.part == "addresses").expect("looked at")
    };
    assert!(addresses().ok(), "{:?}", addresses());
    let _taken = std::net::TcpListener::bind(desk)?;
    let found = addresses();
    assert!(!found.ok() && found.found.contains(&format!("desk.listen {desk}")), "{found:?}");
    Ok(())
}

fn person_in(category: &str, role: &str, passport: &str) -> String {
    serde_json::json!({
        "category": category, "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": "case 1",
        "subjects": [{
            "category": role,
            "names": [{ "family": "Torvekova", "given": "Ina" }],
            "birth_date": "1998-04-12",
            "identifiers": [{ "type": "passport", "country": "UA", "number": passport }],
        }],
    })
    .to_string()
}

/// What the desk asks an officer to think about first: a check of a protected person, and an alert
/// that turns into another.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_contradicts_another_is_refused() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let mut officer = DeskClient::new(federation.nodes[0].desk("officer").await?);
    let missing = person_in("missing_protect", "missing", "D12345678");
    let asked = |draft: &str| CreateAlertRequest { draft: draft.to_owned(), ..Default::default() };
    let id = officer.create_alert(asked(&missing)).await?.into_inner().id;
    let check = person_in("discreet_check", "suspect", "D12345678");
    let refused = officer.create_alert(asked(&check)).await.expect_err("incompatible");
    assert_eq!(reason(&refused), "incompatible");
    let other = person_in("discreet_check", "suspect", "D99999999");
    let update = |override_reason: &str| UpdateAlertRequest {
        id: id.clone(),
        draft: other.clone(),
        override_reason: override_reason.to_owned(),
        ..Default::default()
    };
    let refused = officer.update_alert(update("")).await.expect_err("another category");
    assert_eq!(reason(&refused), "category_changes");
    assert!(refused.message().contains("from missing_protect into discreet_check"));
    let updated = officer.update_alert(update("she was found to be a suspect")).await?;
    assert_eq!(updated.into_inner().version, 2);
    federation.stop().await
}
