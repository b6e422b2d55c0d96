//! Roots that have ended vouch for nobody.

use std::fs;
use std::ops::Range;

use anyhow::Context;
use entente_node::admin;
use entente_node::home::Layout;
use entente_node::id::Clock;
use entente_node::outbound::connect;
use entente_node::tls::{Target, TlsIdentity};
use entente_tests::federation::{Federation, free_port};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::client::{Card, DAY_S, let_in, pair, refusal};
use crate::profile::{leaf, time_of};

/// A root of this name and key, valid between these hours from now: for `Issuer::from_params`, and
/// as PEM.
pub(crate) fn root(
    name: &str,
    key: &KeyPair,
    valid: Range<i64>,
) -> anyhow::Result<(CertificateParams, String)> {
    let now = time_of(Clock::system().now())?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now + time::Duration::hours(valid.start);
    params.not_after = now + time::Duration::hours(valid.end);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(key)?.pem();
    Ok((params, pem))
}

pub(crate) const IN_FORCE: Range<i64> = -1000..1000;
pub(crate) const ENDED: Range<i64> = -1000..-1;

/// Both roots were valid when the peers signed their descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn a_peers_root_that_has_ended_vouches_for_nobody() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let dk = &federation.nodes[0];
    let door = dk.running().exchange;
    let signed_at = Clock::system().now().plus(-10 * DAY_S);
    for (name, valid) in [("se.polisen", IN_FORCE), ("no.kripos", ENDED)] {
        let key = KeyPair::generate()?;
        let (params, pem) = root(name, &key, valid.clone())?;
        let peer = dk.invent(name, vec![pem], &free_port()?.to_string(), signed_at).await?;
        let leaf = leaf(&peer.uri(), &[ServerAuth, ClientAuth])?;
        let config = Card::signed(&Issuer::from_params(&params, &key), &leaf)?.config()?;
        if valid == IN_FORCE {
            let_in(&config, door).await?;
        } else {
            assert_eq!(refusal(&config, door).await?, AlertDescription::CertificateUnknown);
        }
    }
    federation.stop().await
}

/// The node's clock is half a day behind, so that it still takes the user CA: the handshake goes by
/// the system's.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_ca_that_has_ended_vouches_for_nobody() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let door = dk.running().desk;
    let key = KeyPair::generate()?;
    let (params, in_force) = root("user CA", &key, IN_FORCE)?;
    let (_, ended) = root("user CA", &key, ENDED)?;
    let uri = format!("{}/user/officer", dk.authority.uri());
    let leaf = leaf(&uri, &[ExtendedKeyUsagePurpose::ClientAuth])?;
    let config = Card::signed(&Issuer::from_params(&params, &key), &leaf)?.config()?;
    let users = Layout::new(&dk.home).user_ca();
    fs::write(&users, in_force)?;
    admin::reload(dk.node(), "administrator").await?;
    let_in(&config, door).await?;
    fs::write(&users, ended)?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("ended").to_string();
    assert!(refused.contains("users/ca.pem") && refused.contains("it ended on"), "{refused}");
    let_in(&config, door).await.context("the old stays in force")?;
    dk.clock.shift(-DAY_S / 2);
    admin::reload(dk.node(), "administrator").await?;
    assert_eq!(refusal(&config, door).await?, AlertDescription::CertificateUnknown);
    federation.stop().await
}

/// The server's certificate is sound, and its CA has signed it; the root that is held of that CA
/// has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_not_called_on_the_word_of_a_root_that_has_ended() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let key = KeyPair::from_pem(&fs::read_to_string(dk.home.join("tls/ca.key"))?)?;
    let name = format!("{} node CA", dk.authority);
    let caller = Layout::new(&fr.home);
    for (valid, expected) in
        [(IN_FORCE, None), (ENDED, Some("no root that could vouch for it is valid now"))]
    {
        let (_, pem) = root(&name, &key, valid)?;
        let now = Clock::system().now();
        let target = Target {
            authority: dk.authority.clone(),
            roots: vec![CertificateDer::from_pem_slice(pem.as_bytes())?],
            own: TlsIdentity::read(&caller.certificate(), &caller.certificate_key(), now)?,
        };
        let failed = connect(&dk.running().exchange.to_string(), &target).await.err();
        let as_expected = match (&failed, expected) {
            (Some(failed), Some(expected)) => failed.contains(expected),
            (failed, expected) => failed.is_none() && expected.is_none(),
        };
        assert!(as_expected, "{failed:?}");
    }
    federation.stop().await
}
