//! The scene of a notice: it goes to one desk, and its sender sees that it was read.

use entente_proto::desk::{
    AcknowledgeNoticeRequest, GetNoticeRequest, ListNoticesRequest, SendNoticeRequest,
};

use super::Shown;
use super::federation::{DE, DK, FR, Federation, until};
use crate::output::{Failure, table};

const TEXT: &str = "Please call our desk about this alert before 18:00 UTC.";

const WHO: &str = "night desk, which calls back";

pub async fn notice(f: &mut Federation) -> Result<Shown, Failure> {
    let (dk, fr, de) = (f.node(DK)?, f.node(FR)?, f.node(DE)?);
    let asked = SendNoticeRequest {
        to: fr.authority.to_string(),
        text: TEXT.to_owned(),
        about: f.followed.clone(),
        key: String::new(),
    };
    let sent = dk.notices().await?.send_notice(asked).await?.into_inner();
    let asked = GetNoticeRequest { id: sent.id.clone() };
    let got = until("the notice at FR", || async {
        Ok(fr.notices().await?.get_notice(asked.clone()).await.ok().map(|got| got.into_inner()))
    })
    .await?;
    if got.text != TEXT {
        return Err(Failure::new("the notice at FR is not what DK sent"));
    }
    let said = AcknowledgeNoticeRequest { id: sent.id.clone(), who: WHO.to_owned() };
    fr.notices().await?.acknowledge_notice(said).await?;
    let read = until("the word that it was read", || async {
        let read = dk.notices().await?.get_notice(asked.clone()).await?.into_inner();
        Ok((read.state == "acknowledged").then_some(read))
    })
    .await?;
    let elsewhere = de.notices().await?.list_notices(ListNoticesRequest::default()).await?;
    if !elsewhere.into_inner().notices.is_empty() {
        return Err(Failure::new("a notice for FR is at DE, too"));
    }
    let row = vec![read.id, read.peer, read.state, read.who];
    Ok(Shown {
        proves: "a notice goes to one authority's desk, and its sender sees who acts".to_owned(),
        table: table(&["notice", "to", "state", "who acts"], vec![row]),
    })
}
