//! A new certificate without a restart, and a home whose certificates do not fit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use entente_node::admin;
use entente_node::home::{Home, Layout, check};
use entente_node::id::Clock;
use entente_node::pki::{Authority, Issued};
use entente_node::sample::Samples;
use entente_tests::federation::{ALL, Federation, TestNode};
use entente_tests::proxy::Fault;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::client::{DAY_S, doors, let_in, pair};
use crate::roots::{ENDED, IN_FORCE, root};

/// Puts a node certificate in place.
fn put(layout: &Layout, issued: &Issued) -> anyhow::Result<()> {
    fs::write(layout.certificate(), &issued.certificate_pem)?;
    Ok(fs::write(layout.certificate_key(), issued.key_pem.expose())?)
}

fn home_ca(node: &TestNode) -> anyhow::Result<Authority> {
    let pem = fs::read_to_string(Layout::new(&node.home).roots())?;
    let key = fs::read_to_string(node.home.join("tls/ca.key"))?;
    Ok(Authority::open(&pem, &key)?)
}

/// The certificates that both doors of `here` present to new connections.
async fn presented(
    here: &TestNode,
    peer: &TestNode,
) -> anyhow::Result<[CertificateDer<'static>; 2]> {
    let mut seen = Vec::new();
    for (door, card) in doors(here, peer)? {
        let tls = let_in(&card.config()?, door).await?;
        let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        seen.push(leaf.context("a certificate")?.clone().into_owned());
    }
    seen.try_into().map_err(|_| anyhow::anyhow!("two doors"))
}

/// An alert arrives over connections that were made anew.
async fn exchange_goes_on(federation: &Federation, seed: u64) -> anyhow::Result<()> {
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for node in &federation.nodes {
        node.proxy.set(Fault::Cut);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    for node in &federation.nodes {
        node.proxy.set(Fault::None);
        node.wake();
    }
    let id = dk.create(&Samples::new(seed).next().context("a sample")?).await?;
    dk.wake();
    federation.settle().await?;
    anyhow::ensure!(fr.holds(&id)?, "the peer holds {id}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_comes_into_force_without_a_restart() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.apply(ALL).await?;
    exchange_goes_on(&federation, 1).await?;
    let layout = Layout::new(&dk.home);
    let first = CertificateDer::from_pem_file(layout.certificate())?;
    assert_eq!(presented(dk, fr).await?, [first.clone(), first.clone()]);
    let open = dk.desk("officer").await?;

    let now = Clock::system().now();
    put(&layout, &home_ca(dk)?.node(&dk.authority, &[], now)?)?;
    let second = CertificateDer::from_pem_file(layout.certificate())?;
    assert_ne!(first, second);
    assert_eq!(presented(dk, fr).await?, [first.clone(), first], "not before it is reloaded");
    admin::reload(dk.node(), "administrator").await?;
    assert_eq!(presented(dk, fr).await?, [second.clone(), second.clone()]);
    exchange_goes_on(&federation, 2).await?;
    let mut desk = entente_proto::desk::desk_client::DeskClient::new(open);
    desk.whoami(entente_proto::desk::WhoamiRequest {}).await.context("open connections stay")?;

    // Of a CA that no peer knows: it would lock the node out everywhere.
    let foreign = Authority::new("foreign", now)?;
    put(&layout, &foreign.node(&dk.authority, &[], now)?)?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("refused").to_string();
    for said in ["the old stays in force", "has no root that vouches for", "node.pem"] {
        assert!(refused.contains(said), "{said:?} is not in {refused}");
    }
    assert_eq!(presented(dk, fr).await?, [second.clone(), second]);
    exchange_goes_on(&federation, 3).await?;
    federation.stop().await
}

/// What is wrong with certificates is named before a node starts with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_certificates_do_not_fit_is_not_started() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    federation.nodes[0].stop().await?;
    let dk = &mut federation.nodes[0];
    let (layout, clock) = (Layout::new(&dk.home), Clock::system());
    let now = clock.now();
    let own = home_ca(dk)?;
    let certificates = |home: &Path| {
        let findings = check(home, &clock);
        findings.into_iter().find(|finding| finding.part == "certificates").expect("looked at")
    };
    assert!(certificates(&dk.home).ok());
    let node = |issued: Issued| {
        let key = (layout.certificate_key(), issued.key_pem.expose().clone());
        vec![(layout.certificate(), issued.certificate_pem), key]
    };
    let users = |pem: String| vec![(layout.user_ca(), pem)];
    let foreign = Authority::new("foreign", now)?.node(&dk.authority, &[], now)?;
    let ended = own.node(&dk.authority, &[], now.plus(-397 * DAY_S))?;
    let [one, two] = [own.node(&dk.authority, &[], now)?, own.node(&dk.authority, &[], now)?];
    let leaf_as_ca = two.certificate_pem.clone();
    let other_key = Issued { key_pem: two.key_pem, ..one };
    let swedish = own.node(&"se.polisen".parse()?, &[], now)?;
    let user_ca = |valid| anyhow::Ok(root("user CA", &KeyPair::generate()?, valid)?.1);
    let (user_ca, ended_user_ca) = (user_ca(IN_FORCE)?, user_ca(ENDED)?);
    let cases = [
        (node(foreign), ["has no root that vouches for", "tls/node.pem"]),
        (node(ended), ["the node's own certificate", "ended on"]),
        (node(swedish), ["is not the certificate of dk.politi's node", "tls/node.pem"]),
        (node(other_key), ["tls/node.key is not the key of", "tls/node.pem"]),
        (users(ended_user_ca.clone()), ["it ended on", "users/ca.pem"]),
        (users(user_ca + &ended_user_ca), ["it ended on", "users/ca.pem"]),
        (users(leaf_as_ca), ["a root must be a CA", "users/ca.pem"]),
    ];
    let files = [layout.certificate(), layout.certificate_key(), layout.user_ca()];
    let sound: Vec<_> = files.iter().map(fs::read).collect::<Result<_, _>>()?;
    for (put, expected) in cases {
        for (file, pem) in put {
            fs::write(file, pem)?;
        }
        let finding = certificates(&dk.home);
        assert!(!finding.ok(), "{finding:?}");
        let read = Home::read(&dk.home, &clock).err().context("read all the same")?.to_string();
        let started = dk.start().await.expect_err("does not start").to_string();
        for said in expected {
            for text in [&finding.found, &read, &started] {
                assert!(text.contains(said), "{said:?} is not in {text}");
            }
        }
        for (file, bytes) in files.iter().zip(&sound) {
            fs::write(file, bytes)?;
        }
    }
    assert!(certificates(&dk.home).ok());
    dk.start().await?;
    federation.stop().await
}
