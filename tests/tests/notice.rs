//! Notices between real nodes: they survive a restart of either end, and need no policy.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use entente_node::desk::{self, NoticeState, Outgoing};
use entente_node::roles::Role;
use entente_proto::desk::notices_client::NoticesClient;
use entente_proto::desk::{AcknowledgeNoticeRequest, GetNoticeRequest, SendNoticeRequest};
use entente_tests::federation::{Federation, person, until};
use entente_tests::proxy::Fault;

const TEXT: &str = "The vehicle was seen again.\nPlease call our desk.";

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_survives_restarts_and_its_sender_sees_who_read_it() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let to = federation.nodes[1].authority.clone();
    federation.nodes[1].stop().await?;
    let mut dk = NoticesClient::new(federation.nodes[0].desk("officer").await?);
    let asked = SendNoticeRequest {
        to: to.to_string(),
        text: TEXT.to_owned(),
        about: String::new(),
        key: "one".to_owned(),
    };
    let sent = dk.send_notice(asked.clone()).await?.into_inner();
    assert!(sent.is_new && sent.state == "waiting", "{sent:?}");
    // The sender restarts before anything went, and its caller does not know what came of it.
    federation.nodes[0].stop().await?;
    federation.nodes[0].start().await?;
    let mut dk = NoticesClient::new(federation.nodes[0].desk("officer").await?);
    let again = dk.send_notice(asked).await?.into_inner();
    assert_eq!((again.id.as_str(), again.is_new), (sent.id.as_str(), false));

    federation.nodes[1].start().await?;
    let fr = &federation.nodes[1];
    let id = sent.id.parse()?;
    until("the notice", || Ok(desk::listed_notice(fr.node(), &id).ok())).await?;
    let mut desk_of_fr = NoticesClient::new(fr.desk("coordinator").await?);
    let asked = GetNoticeRequest { id: sent.id.clone() };
    assert_eq!(desk_of_fr.get_notice(asked.clone()).await?.into_inner().text, TEXT);
    let said = AcknowledgeNoticeRequest { id: sent.id.clone(), who: "night desk".to_owned() };
    desk_of_fr.acknowledge_notice(said).await?;
    let here = &federation.nodes[0];
    until("the word that it was read", || {
        let listed = desk::listed_notice(here.node(), &id)?;
        Ok((listed.state == NoticeState::Acknowledged).then_some(()))
    })
    .await?;
    let read = dk.get_notice(asked).await?.into_inner();
    assert_eq!((read.who.as_str(), read.acknowledged_by.as_str()), ("night desk", ""));
    assert_eq!(desk::open_notices(fr.node())?, 0);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_notices_arrive_once_each_though_connections_break() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let mut ids = Vec::new();
    for number in 0..60 {
        // Every connection breaks after so many bytes, until the last notices.
        match number {
            10 => fr.proxy.set(Fault::ResetAfter { bytes: 20_000 }),
            50 => fr.proxy.set(Fault::None),
            _ => {}
        }
        let text = format!("Notice {number}.");
        let outgoing = Outgoing { to: &fr.authority, text: &text, about: None, key: "" };
        ids.push(desk::send_notice(dk.node(), outgoing, &person(Role::Officer)).await?.0);
    }
    for id in &ids {
        until("every notice", || Ok(desk::listed_notice(fr.node(), id).ok())).await?;
        until("every receipt", || Ok(desk::listed_notice(dk.node(), id)?.taken_at)).await?;
    }
    assert_eq!(desk::open_notices(fr.node())?, 60);
    federation.stop().await
}
