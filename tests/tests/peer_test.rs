//! `entente peer test`: the step that fails is named, is the last, and says what to do.

use std::sync::{Arc, Mutex};

use entente_node::admin;
use entente_node::admin::TestStep;
use entente_node::alert::{SCHEMA, SCHEMAS};
use entente_node::exchange::{Nonce, PROTOCOLS, Resume};
use entente_node::home::Layout;
use entente_node::id::{AuthorityId, Clock, Digest};
use entente_node::outbound::test_peer;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::StreamsOut;
use entente_node::trust::PeerState;
use entente_node::wire::exchange::FromReceiver;
use entente_proto::admin::ListPeersRequest;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_server;
use entente_tests::federation::{ALL, Federation, TestNode, free_port, person, until};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// All steps, in the order in which they are taken.
const STEPS: [&str; 8] =
    ["trust", "name", "tcp", "tls", "their trust", "version", "clock", "stream"];

/// The steps up to the one that fails: those before it went well, and it alone says what to do.
fn failed(steps: &[TestStep], name: &str) -> anyhow::Result<TestStep> {
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    let place = STEPS.iter().position(|step| *step == name).expect("a step");
    assert_eq!(names, STEPS[..=place], "{steps:?}");
    let (last, before) = steps.split_last().expect("a step");
    assert!(before.iter().all(|step| step.ok && step.hint.is_empty()), "{steps:?}");
    assert!(!last.ok && !last.found.is_empty() && !last.hint.is_empty(), "{last:?}");
    for step in steps {
        let said = [&step.found, &step.hint];
        assert!(said.iter().all(|text| !text.chars().any(char::is_control)), "{step:?}");
        assert!(step.found.len() < 1000, "{}: {} bytes", step.name, step.found.len());
    }
    Ok(last.clone())
}

/// Tests a peer, and checks which step fails, what was found, and what the hint names.
async fn fails(
    here: &TestNode,
    peer: &AuthorityId,
    (name, found, hint): (&str, &str, &str),
) -> anyhow::Result<()> {
    let step = failed(&test_peer(here.node(), peer).await, name)?;
    assert!(step.found.contains(found), "{found:?} is not in {step:?}");
    assert!(step.hint.contains(hint), "{hint:?} is not in {step:?}");
    Ok(())
}

async fn pair() -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.settle().await?;
    Ok(federation)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_well_passes_every_step() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let steps = test_peer(dk.node(), &fr.authority).await;
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    assert_eq!(names, STEPS);
    assert!(steps.iter().all(|step| step.ok && step.hint.is_empty()), "{steps:?}");
    assert!(steps[3].found.contains("X25519MLKEM768"), "{steps:?}");
    assert!(steps[7].found.contains("epoch 1"), "{steps:?}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_we_do_not_trust_is_not_called() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let unknown = "se.polisen".parse()?;
    fails(dk, &unknown, ("trust", "not known", "`entente peer import FILE`")).await?;
    let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
    let change = |to| admin::change_peer(dk.node(), &fr.authority, to, "incident", &one);
    change(PeerState::Suspended).await?;
    fails(dk, &fr.authority, ("trust", "suspended", "`entente peer resume`")).await?;
    change(PeerState::Removed).await?;
    fails(dk, &fr.authority, ("trust", "removed", "`entente peer import FILE`")).await?;
    let descriptor = fr.descriptor()?;
    admin::import_peer(dk.node(), descriptor.jws(), &one).await?;
    fails(dk, &fr.authority, ("trust", "pending", "`entente peer approve`")).await?;
    admin::approve_peer(dk.node(), &fr.authority, &descriptor.fingerprint(), &two).await?;
    federation.settle().await?;
    let steps = test_peer(dk.node(), &fr.authority).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    federation.stop().await
}

/// Authorities whose descriptors say where a node would be, and whose certificates it would have.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_a_peer_is_tried_step_by_step() -> anyhow::Result<()> {
    let ours = Federation::start(&["dk.politi"]).await?;
    let theirs = Federation::start(&["fr.police-judiciaire"]).await?;
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    let roots = |node: &TestNode| std::fs::read_to_string(Layout::new(&node.home).roots());
    let (right, wrong) = (roots(fr)?, roots(dk)?);
    let (nobody, door) = (free_port()?.to_string(), fr.running().exchange.to_string());
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let silence = silent.local_addr()?.to_string();
    let other = "names the node of fr.police-judiciaire, not fi.krp";
    for (name, root, endpoint, expected) in [
        ("se.polisen", &right, "nobody.invalid:1", ("name", "nobody.invalid:1", "name service")),
        ("no.kripos", &right, &nobody, ("tcp", "refused", "firewalls")),
        ("fi.krp", &right, &door, ("tls", other, "leads to another's door")),
        ("fr.police-judiciaire", &wrong, &door, ("tls", "UnknownIssuer", "newest descriptor")),
        ("pl.policja", &right, &silence, ("tls", "no handshake within 5 s", "firewall")),
    ] {
        let now = Clock::system().now();
        let peer = dk.invent(name, vec![root.clone()], endpoint, now).await?;
        fails(dk, &peer, expected).await?;
    }
    ours.stop().await?;
    theirs.stop().await
}

/// Each in a federation of its own, so that only one side trusts.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_trust_us_is_named_as_such() -> anyhow::Result<()> {
    let ours = Federation::start(&["dk.politi"]).await?;
    let theirs = Federation::start(&["fr.police-judiciaire"]).await?;
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    dk.trust(fr).await?;
    let expected = ("their trust", "refused", "approved there");
    fails(dk, &fr.authority, expected).await?;
    let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
    let descriptor = dk.descriptor()?;
    admin::import_peer(fr.node(), descriptor.jws(), &one).await?;
    fails(dk, &fr.authority, expected).await?;
    admin::approve_peer(fr.node(), &dk.authority, &descriptor.fingerprint(), &two).await?;
    until("the stream to open", || {
        dk.wake();
        Ok(dk.node().streams.status(&fr.authority).sending.then_some(()))
    })
    .await?;
    let steps = test_peer(dk.node(), &fr.authority).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    let why = "incident";
    admin::change_peer(fr.node(), &dk.authority, PeerState::Suspended, why, &one).await?;
    fails(dk, &fr.authority, expected).await?;
    ours.stop().await?;
    theirs.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named_with_how_far() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    fr.clock.shift(1000);
    // The answer takes a while, which makes their clock look slower.
    for (here, there, skew) in [(dk, fr, 990..=1000), (fr, dk, -1010..=-1000)] {
        let step = failed(&test_peer(here.node(), &there.authority).await, "clock")?;
        let found: i64 = step.found.split(' ').find_map(|word| word.parse().ok()).expect("seconds");
        assert!(skew.contains(&found), "{step:?}");
        assert!(step.hint.contains("time synchronisation"), "{step:?}");
    }
    // What clocks may differ by.
    fr.clock.shift(290);
    let steps = test_peer(dk.node(), &fr.authority).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    federation.stop().await
}

/// A node that was restored from an old state: its stream stands until two people start a new
/// epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_state_says_how_to_go_on() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    let aside = federation.folder().join("aside");
    federation.nodes[0].copy_store(&aside, false).await?;
    for sample in Samples::new(1).take(3) {
        federation.nodes[0].create(&sample).await?;
    }
    federation.settle().await?;
    federation.nodes[0].copy_store(&aside, true).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    until("the stop", || Ok(entente_node::exchange::lost_state(dk.node())?.then_some(()))).await?;
    let expected = ("stream", "restored from an old state", "`entente epoch recover`");
    fails(dk, &fr.authority, expected).await?;
    dk.recover().await?;
    dk.wake();
    federation.settle().await?;
    let steps = test_peer(dk.node(), &fr.authority).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    federation.stop().await
}

/// What the stand-in does at the place of a node.
#[derive(Clone, Copy, Debug)]
enum Says {
    OldSchema,
    OtherProtocol,
    Nothing,
    Refusal,
    Escapes,
    NoStream,
    FalsePlace,
}

/// Answers at a peer's exchange door, with the peer's certificate, as no node of this version
/// would.
struct StandIn {
    authority: AuthorityId,
    says: Arc<Mutex<Says>>,
}

impl StandIn {
    fn says(&self) -> Says {
        *self.says.lock().expect("no panic while it was held")
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl exchange_server::Exchange for StandIn {
    type DeliverStream = Answers<proto::FromReceiver>;
    type RecoverStream = Answers<proto::RecoverResponse>;

    async fn deliver(
        &self,
        _: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        match self.says() {
            Says::FalsePlace => {}
            Says::OtherProtocol => {
                let (reason, code) = ("unknown_protocol", Code::FailedPrecondition);
                return Err(entente_proto::refusal(code, reason, "not one of ours"));
            }
            _ => return Err(Status::unavailable("no\u{1b}[31m room")),
        }
        let resume = Resume {
            epoch: 1,
            seq: 1000,
            chain: Some(Digest::of(b"never reached")),
            head: String::new(),
            nonce: Nonce([7; 16]),
            protocol: PROTOCOLS.max,
            schemas: SCHEMAS,
            log: String::new(),
            other_log: String::new(),
            stopped: false,
        };
        let (answers, stream) = mpsc::channel(1);
        let _ = answers.send(Ok(FromReceiver::Resume(resume).into())).await;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn describe(
        &self,
        _: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        let says = self.says();
        match says {
            Says::Nothing => std::future::pending().await,
            Says::Refusal => return Err(Status::permission_denied("not\u{1b}[31m here")),
            _ => {}
        }
        let mut described = proto::DescribeResponse {
            authority: self.authority.to_string(),
            software: "entente 9".to_owned(),
            protocols: vec![PROTOCOLS.min],
            schema_min: SCHEMA,
            schema_max: SCHEMA,
            time: Clock::system().now().seconds(),
            caller_state: "active".to_owned(),
            ..Default::default()
        };
        match says {
            Says::OldSchema => (described.schema_min, described.schema_max) = (0, 0),
            Says::OtherProtocol => described.protocols = [3, 4].repeat(5000),
            Says::Escapes => {
                described.software = "\u{1b}[2J".repeat(1000);
                described.caller_state = "\u{1b}[31mwell\r".repeat(1000);
                described.protocols = vec![];
            }
            _ => {}
        }
        Ok(Response::new(described))
    }

    async fn recover(
        &self,
        _: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unimplemented("a stand-in holds nothing"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_otherwise_than_this_version_is_named_as_such() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    let says = Arc::new(Mutex::new(Says::NoStream));
    let fr = &mut federation.nodes[1];
    let service = StandIn { authority: fr.authority.clone(), says: Arc::clone(&says) };
    let trigger = fr.stand_in(service).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for (behaviour, expected) in [
        (Says::OldSchema, ("version", "schema 0", "`entente peer parked`")),
        (
            Says::OtherProtocol,
            ("version", "protocol 3 to 4", "this node 1 to 2: upgrade this node"),
        ),
        (Says::Escapes, ("version", "�[2J�[2J", "the peer must upgrade its node")),
        (Says::Nothing, ("their trust", "no answer within 5 s", "contact desk")),
        (Says::Refusal, ("their trust", "not�[31m here", "approved there")),
        (Says::NoStream, ("stream", "no�[31m room", "contact desk")),
    ] {
        *says.lock().expect("no panic while it was held") = behaviour;
        dk.wake();
        fails(dk, &fr.authority, expected).await?;
    }
    *says.lock().expect("no panic while it was held") = Says::FalsePlace;
    dk.wake();
    until("the halt", || {
        let stream = dk.node().store.get::<StreamsOut>(&fr.authority)?;
        Ok(stream.and_then(|stream| stream.halted))
    })
    .await?;
    let expected =
        ("stream", "the peer holds epoch", "`entente peer suspend` and `entente peer resume`");
    fails(dk, &fr.authority, expected).await?;
    // The node itself again: what the hint says helps.
    drop(trigger);
    federation.nodes[1].start().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for (to, by) in
        [(PeerState::Suspended, Role::Administrator), (PeerState::Active, Role::Coordinator)]
    {
        admin::change_peer(dk.node(), &fr.authority, to, "incident", &person(by)).await?;
    }
    federation.settle().await?;
    let steps = test_peer(dk.node(), &fr.authority).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    federation.stop().await
}

/// A federation is upgraded node by node: one that is too far ahead is waited for, visibly.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_speaks_no_common_version_is_waited_for_visibly() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    let says = Arc::new(Mutex::new(Says::OtherProtocol));
    let fr = &mut federation.nodes[1];
    let trigger = fr.stand_in(StandIn { authority: fr.authority.clone(), says }).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.wake();
    let status = || dk.node().streams.status(&fr.authority);
    let waiting = until("the wait", || Ok(status().waiting)).await?;
    let said = "fr.police-judiciaire speaks protocol 3 to 4, this node 1 to 2: upgrade this node";
    assert_eq!(waiting, said);
    assert_eq!(status().problem, None, "it is said once");
    let mut admin = AdminClient::new(dk.desk("administrator").await?);
    let peers = admin.list_peers(ListPeersRequest {}).await?.into_inner().peers;
    let waiting = format!("waiting: {said}");
    assert!(peers[0].warnings.contains(&waiting), "{peers:?}");
    drop(trigger);
    federation.nodes[1].start().await?;
    federation.nodes[0].wake();
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let status = || dk.node().streams.status(&fr.authority);
    until("the stream", || Ok(status().sending.then_some(()))).await?;
    assert_eq!(status().waiting, None);
    federation.stop().await
}
