//! What may stand between a leaf and its root, and how much of it is looked at.

use std::time::Duration;

use anyhow::Context;
use entente_node::id::Clock;
use entente_node::trust::{CertificateError, check_intermediates, check_leaf, check_root};
use entente_tests::federation::{TestNode, free_port};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::client::{Card, let_in, pair, refusal, shake_hands};
use crate::profile::{days, leaf};
use crate::roots::{IN_FORCE, root};

use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

/// A CA of this name and key algorithm that may stand above `below` others.
fn ca(
    name: &str,
    algorithm: &'static SignatureAlgorithm,
    below: BasicConstraints,
) -> anyhow::Result<(CertificateParams, KeyPair)> {
    let key = KeyPair::generate_for(algorithm)?;
    let (mut params, _) = root(name, &key, IN_FORCE)?;
    params.is_ca = IsCa::Ca(below);
    Ok((params, key))
}

/// A node of an invented peer, vouched for through CAs below its root.
struct Chained {
    root_pem: String,
    card: Card,
}

/// `middle` is changed before the root signs it; `ordinary` CAs follow below it.
fn chained(
    uri: &str,
    root_permits: BasicConstraints,
    algorithm: &'static SignatureAlgorithm,
    ordinary: usize,
    change: fn(&mut CertificateParams),
) -> anyhow::Result<Chained> {
    let (top, top_key) = ca("root", &PKCS_ECDSA_P256_SHA256, root_permits)?;
    let root_pem = top.self_signed(&top_key)?.pem();
    let (mut middle, middle_key) = ca("CA 0", algorithm, BasicConstraints::Unconstrained)?;
    change(&mut middle);
    let signed = middle.signed_by(&middle_key, &Issuer::from_params(&top, top_key))?;
    let mut chain = vec![signed.der().clone()];
    let mut above = Issuer::new(middle, middle_key);
    for number in 1..=ordinary {
        let unconstrained = BasicConstraints::Unconstrained;
        let (next, key) = ca(&format!("CA {number}"), &PKCS_ED25519, unconstrained)?;
        chain.insert(0, next.signed_by(&key, &above)?.der().clone());
        above = Issuer::new(next, key);
    }
    let mut card = Card::signed(&above, &leaf(uri, &[ServerAuth, ClientAuth])?)?;
    card.chain = chain;
    Ok(Chained { root_pem, card })
}

type Case = (
    &'static str,
    BasicConstraints,
    &'static SignatureAlgorithm,
    usize,
    fn(&mut CertificateParams),
    bool,
);

/// Each with whether it is let in.
fn cases() -> Vec<Case> {
    use BasicConstraints::{Constrained, Unconstrained};
    let p256 = &PKCS_ECDSA_P256_SHA256;
    let as_it_is: fn(&mut CertificateParams) = |_| {};
    vec![
        ("one below its root", Constrained(1), p256, 0, as_it_is, true),
        ("three below a root that permits any", Unconstrained, p256, 2, as_it_is, true),
        ("Ed25519", Unconstrained, &PKCS_ED25519, 0, as_it_is, true),
        ("P-384", Unconstrained, &PKCS_ECDSA_P384_SHA384, 0, as_it_is, true),
        ("one below a root that permits none", Constrained(0), p256, 0, as_it_is, false),
        ("two below a root that permits one", Constrained(1), p256, 1, as_it_is, false),
        ("four", Unconstrained, p256, 3, as_it_is, false),
        ("RSA", Unconstrained, &PKCS_RSA_SHA256, 0, as_it_is, false),
        ("P-521", Unconstrained, &PKCS_ECDSA_P521_SHA512, 0, as_it_is, false),
        (
            "without keyCertSign",
            Unconstrained,
            p256,
            0,
            |params| params.key_usages = vec![KeyUsagePurpose::CrlSign],
            false,
        ),
        (
            "without any key usage",
            Unconstrained,
            p256,
            0,
            |params| params.key_usages.clear(),
            false,
        ),
        ("no CA", Unconstrained, p256, 0, |params| params.is_ca = IsCa::ExplicitNoCa, false),
        (
            "ended",
            Unconstrained,
            p256,
            0,
            |params| params.not_after = params.not_before + days(1),
            false,
        ),
        (
            "that permits none below, above another",
            Unconstrained,
            p256,
            1,
            |params| params.is_ca = IsCa::Ca(Constrained(0)),
            false,
        ),
    ]
}

/// A peer of this name at `dk`, with this root.
async fn known(dk: &TestNode, name: &str, root_pem: &str) -> anyhow::Result<()> {
    let roots = vec![root_pem.to_owned()];
    dk.invent(name, roots, &free_port()?.to_string(), Clock::system().now()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_between_a_leaf_and_its_root_fits_the_profile() -> anyhow::Result<()> {
    let federation = pair().await?;
    let dk = &federation.nodes[0];
    let door = dk.running().exchange;
    for (number, (case, permits, algorithm, ordinary, change, fits)) in
        cases().into_iter().enumerate()
    {
        let name = format!("se.case{number}");
        let uri = format!("entente://{name}");
        let made = chained(&uri, permits, algorithm, ordinary, change)?;
        known(dk, &name, &made.root_pem).await.context(case)?;
        let config = made.card.config()?;
        if fits {
            let_in(&config, door).await.context(case)?;
        } else {
            let alert = refusal(&config, door).await.context(case)?;
            assert_eq!(alert, AlertDescription::CertificateUnknown, "{case}");
        }
    }
    federation.stop().await
}

/// Of a leaf, of what vouches for it and of its root: RSA and P-521 are none of the profile's.
#[test]
fn keys_are_of_the_profile_everywhere() -> anyhow::Result<()> {
    let now = Clock::system().now();
    for (algorithm, expected) in [
        (&PKCS_ED25519, None),
        (&PKCS_ECDSA_P256_SHA256, None),
        (&PKCS_ECDSA_P384_SHA384, None),
        (&PKCS_ECDSA_P521_SHA512, Some(CertificateError::Key)),
        (&PKCS_RSA_SHA256, Some(CertificateError::Key)),
    ] {
        let (params, key) = ca("CA", algorithm, BasicConstraints::Unconstrained)?;
        let certificate = params.self_signed(&key)?;
        assert_eq!(check_root(&certificate.pem(), now).err(), expected);
        assert_eq!(check_intermediates(&[certificate.der()], now).err(), expected);
        let leaf = leaf("entente://dk.politi", &[ServerAuth, ClientAuth])?;
        let certificate = leaf.self_signed(&key)?;
        assert_eq!(check_leaf(certificate.der(), now).err(), expected);
    }
    Ok(())
}

/// So many CAs of the root's name, none of which it knows: each could be the one that signed the
/// leaf.
fn forged(count: usize) -> anyhow::Result<Card> {
    let mut chain: Vec<CertificateDer<'static>> = Vec::new();
    let mut first = None;
    for _ in 0..count {
        let (params, key) = ca("root", &PKCS_ECDSA_P256_SHA256, BasicConstraints::Unconstrained)?;
        chain.push(params.self_signed(&key)?.der().clone());
        first.get_or_insert((params, key));
    }
    let (params, key) = first.context("one at least")?;
    let leaf = leaf("entente://se.polisen", &[ServerAuth, ClientAuth])?;
    let mut card = Card::signed(&Issuer::from_params(&params, key), &leaf)?;
    card.chain = chain;
    Ok(card)
}

/// How long the door takes to refuse, at best: what else the machine does makes it longer, never
/// shorter.
async fn quickest(card: &Card, door: std::net::SocketAddr) -> anyhow::Result<Duration> {
    let config = card.config()?;
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        let refused = refusal(&config, door).await;
        quickest = quickest.min(begun.elapsed());
        assert!(refused.is_ok() || card.chain.len() > 20, "{refused:?}");
    }
    Ok(quickest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_costs_no_more_than_a_bare_handshake() -> anyhow::Result<()> {
    let federation = pair().await?;
    let dk = &federation.nodes[0];
    let door = dk.running().exchange;
    let (params, key) = ca("root", &PKCS_ECDSA_P256_SHA256, BasicConstraints::Unconstrained)?;
    known(dk, "se.polisen", &params.self_signed(&key)?.pem()).await?;
    let bare = quickest(&forged(1)?, door).await?;
    for count in [4, 12, 120] {
        let long = quickest(&forged(count)?, door).await?;
        assert!(long < 10 * bare, "{count} forged CAs take {long:?}, one takes {bare:?}");
    }
    // Too long, and yet no more than is read of a caller: the alert says nothing else than
    // otherwise.
    let alert = refusal(&forged(4)?.config()?, door).await?;
    assert_eq!(alert, AlertDescription::CertificateUnknown);
    drop(shake_hands(&forged(120)?.config()?, door).await);
    federation.stop().await
}
