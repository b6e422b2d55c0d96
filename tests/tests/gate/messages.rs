//! Messages are held to their size, their time and their budget, and what is no method is refused.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entente_node::node::SharedNode;
use entente_node::server::door::Caller;
use entente_node::server::gate::{
    Allowance, Budget, CALLER_BYTES_MAX, Call, DESK_BYTES_MAX, Line, METHODS, Needs, RequestBody,
};
use entente_node::trust::Identity;
use entente_tests::federation::Federation;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};
use tonic::{Code, Status};

use crate::raw::{HalfSent, mint, reason, send, status_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_refused_at_its_prefix() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let peer = dk.as_peer(fr).await?;
    let mut people = Vec::new();
    for role in entente_node::roles::Role::ALL {
        people.push((role, dk.desk(role.as_str()).await?));
    }
    for method in METHODS.iter().filter(|method| !method.path.contains("reflection")) {
        let channel = match method.needs {
            Needs::Peer => &peer,
            Needs::Known => &people[0].1,
            Needs::User(actions) => {
                let may = |(role, _): &&(_, _)| {
                    actions.iter().any(|action| entente_node::roles::allow(*role, *action))
                };
                &people.iter().find(may).expect("a role that may").1
            }
        };
        let announced = u32::try_from(method.message_bytes_max)? + 1;
        let status = status_of(send(channel, method.path, HalfSent::new(announced, 0))).await?;
        let told = (status.code(), reason(&status));
        assert_eq!(told, (Code::OutOfRange, "message_too_large".to_owned()), "{}", method.path);
    }
    federation.stop().await
}

/// The body of none of these is ever sent: the headers are answered.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_call_is_refused_before_a_byte_of_the_message() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let [pem, key] = mint(&dk.home, &dk.authority, "nobody")?;
    let nobody = dk.connect(&pem, &key, dk.running().desk).await?;
    let (auditor, peer) = (dk.desk("auditor").await?, dk.as_peer(fr).await?);
    for (channel, path, expected) in [
        (&nobody, "/entente.desk.v1.Desk/CreateAlert", "unknown_user"),
        (&nobody, "/grpc.health.v1.Health/Check", "unknown_user"),
        (&auditor, "/entente.desk.v1.Desk/CreateAlert", "wrong_role"),
        (&auditor, "/entente.exchange.v1.Exchange/Deliver", "wrong_door"),
        (&auditor, "/entente.desk.v1.Desk/NoSuchMethod", "unknown_method"),
        (&auditor, "/", "unknown_method"),
        (&peer, "/entente.desk.v1.Desk/Whoami", "wrong_door"),
        (&peer, "/entente.exchange.v1.Exchange/deliver", "unknown_method"),
    ] {
        let silent = HalfSent::silent();
        let status = status_of(send(channel, path, silent)).await?;
        assert_eq!(reason(&status), expected, "{path}");
    }
    federation.stop().await
}

/// A line to `node` as an officer, and what its calls may take.
fn officer(node: &SharedNode) -> (Arc<Line>, Allowance) {
    let caller = Caller {
        identity: Identity::User(node.authority.clone(), "officer".to_owned()),
        key: node.users.load().get("officer").expect("the first officer").key,
        ends_at: node.clock.now().plus(3600),
        revision: None,
    };
    let allowance = Budget::new(DESK_BYTES_MAX).of(&caller.identity);
    (Arc::new(Line::new(node.clone(), caller, allowance.clone())), allowance)
}

/// Where messages begin and end does not depend on how the bytes come, and none is handed on
/// together with another.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_handed_on_one_by_one_however_they_come() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let (line, _) = officer(federation.nodes[0].node());
    let import = "/entente.desk.v1.Desk/ImportAlerts";
    let place = METHODS.iter().position(|method| method.path == import).expect("a method");
    let lengths = [0, 1, 4, 5, 6, 700, 0, 0, 20_000];
    let mut sent = Vec::new();
    let mut ends = Vec::new();
    for length in lengths {
        sent.push(0);
        sent.extend(u32::to_be_bytes(length));
        sent.extend(vec![length as u8; length as usize]);
        ends.push(sent.len());
    }
    for pieces in [1, 2, 3, 4, 5, 7, 64, 999, 16_384, sent.len()] {
        let frames = sent.chunks(pieces).map(Bytes::copy_from_slice);
        let frames = frames.map(|bytes| Ok::<_, Status>(Frame::data(bytes)));
        let body = StreamBody::new(tokio_stream::iter(frames.collect::<Vec<_>>()));
        let call = Arc::new(Call::begin(Arc::clone(&line), (place, &METHODS[place])));
        let mut body = RequestBody::new(body, call);
        let mut got: Vec<u8> = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            let from = got.len();
            got.extend(frame?.into_data().expect("data"));
            let inside = ends.iter().any(|end| from < *end && *end < got.len());
            assert!(!inside, "two messages at once, in pieces of {pieces}");
        }
        assert_eq!(got, sent, "in pieces of {pieces}");
    }
    drop(line);
    federation.stop().await
}

/// An empty entry of a list takes two bytes on the wire, and dozens once it is decoded.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_refused_before_it_is_decoded() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (officer, peer) = (dk.desk("officer").await?, dk.as_peer(fr).await?);
    let search: Vec<u8> = [0x2a, 0].repeat(8000);
    let items: Vec<u8> = [0x0a, 0].repeat(500_000);
    let mut batch = vec![0x12];
    prost::encode_length_delimiter(items.len(), &mut batch)?;
    batch.extend(items);
    for (channel, path, message) in [
        (&officer, "/entente.desk.v1.Desk/Search", search),
        (&peer, "/entente.exchange.v1.Exchange/Deliver", batch),
    ] {
        let status = status_of(send(channel, path, HalfSent::message(&message))).await?;
        assert_eq!(reason(&status), "list_too_long", "{path}");
    }
    federation.stop().await
}

/// As `server::gate` has it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads until the body of a request is refused; returns why, or `None` when it still waits long
/// after its time.
async fn refused(line: Arc<Line>, path: &'static str, sent: HalfSent) -> Option<String> {
    let place = METHODS.iter().position(|method| method.path == path).expect("a method");
    let call = Arc::new(Call::begin(line, (place, &METHODS[place])));
    let mut body = RequestBody::new(sent, call);
    let reading = async {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            if let Err(status) = frame.expect("it does not end by itself") {
                return reason(&status);
            }
        }
    };
    tokio::time::timeout(MESSAGE_TIMEOUT + Duration::from_secs(2), reading).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_begun_ends_in_time_or_is_refused() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let (line, allowance) = officer(federation.nodes[0].node());
    let (create, import) =
        ("/entente.desk.v1.Desk/CreateAlert", "/entente.desk.v1.Desk/ImportAlerts");
    let late = Some("request_too_slow");
    let cases = [
        (create, HalfSent::new(100, 99), late),
        (create, HalfSent::silent(), late),
        (create, HalfSent::new(100, 100), late),
        (import, HalfSent::new(100, 99), late),
        // A stream may rest between two messages.
        (import, HalfSent::new(100, 100), None),
        (import, HalfSent::silent(), None),
    ];
    let reading: Vec<_> = cases
        .into_iter()
        .map(|(path, sent, wanted)| (tokio::spawn(refused(line.clone(), path, sent)), path, wanted))
        .collect();
    for (reading, path, wanted) in reading {
        assert_eq!(reading.await?.as_deref(), wanted, "{path}");
    }
    assert!(allowance.take_now(CALLER_BYTES_MAX).is_some(), "what was taken was given back");
    drop(line);
    federation.stop().await
}
