//! The certificate profile, and whose names a CA vouches for.

use std::fs;
use std::path::Path;

use anyhow::Context;
use entente_node::home::Layout;
use entente_node::id::{Clock, Timestamp};
use entente_node::trust::{CertificateError, check_leaf};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::AlertDescription;

use crate::client::{Card, let_in, pair, refusal};

pub(crate) fn time_of(at: Timestamp) -> anyhow::Result<time::OffsetDateTime> {
    Ok(time::OffsetDateTime::from_unix_timestamp(at.seconds())?)
}

pub(crate) fn days(count: i64) -> time::Duration {
    time::Duration::days(count)
}

/// A leaf in the profile, from yesterday on, for 300 days.
pub(crate) fn leaf(
    uri: &str,
    usages: &[ExtendedKeyUsagePurpose],
) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "crafted");
    params.not_before = time_of(Clock::system().now())? - days(1);
    params.not_after = params.not_before + days(300);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    Ok(params)
}

/// The CA of these files, to sign what its owner would not.
pub(crate) fn issuer(certificate: &Path, key: &Path) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&fs::read_to_string(key)?)?;
    Ok(Issuer::from_ca_cert_pem(&fs::read_to_string(certificate)?, key)?)
}

pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// DER of `NULL`, in an extension that nobody knows.
const UNKNOWN: (&[u64], &[u8]) = (&[1, 3, 6, 1, 4, 1, 55_555, 1], &[5, 0]);

/// DER of name constraints that permit everything below `entente.invalid`, as an extension that is
/// not critical.
const CONSTRAINTS: (&[u64], &[u8]) =
    (&[2, 5, 29, 30], b"\x30\x15\xa0\x13\x30\x11\x82\x0fentente.invalid");

type Change = fn(&mut CertificateParams) -> anyhow::Result<()>;

/// What a certificate may have besides, and what it may not: each with what the profile says of it.
const VARIANTS: [(&str, Option<CertificateError>, Change); 18] = [
    ("as it should be", None, |_| Ok(())),
    ("398 days", None, |params| {
        params.not_after = params.not_before + days(398);
        Ok(())
    }),
    ("a name of another kind besides", None, |params| {
        params.subject_alt_names.push(SanType::DnsName("node.invalid".try_into()?));
        Ok(())
    }),
    ("an unknown extension that is not critical", None, |params| {
        params.custom_extensions = vec![extension(UNKNOWN.0, UNKNOWN.1, false)];
        Ok(())
    }),
    ("longer than 398 days", Some(CertificateError::TooLong), |params| {
        params.not_after = params.not_before + days(398) + time::Duration::SECOND;
        Ok(())
    }),
    ("ended", Some(CertificateError::Ended(Timestamp::EPOCH)), |params| {
        params.not_after = params.not_before + days(1) - time::Duration::MINUTE;
        Ok(())
    }),
    ("not begun", Some(CertificateError::NotBegun(Timestamp::EPOCH)), |params| {
        params.not_before += days(2);
        Ok(())
    }),
    ("a CA", Some(CertificateError::LeafIsCa), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(())
    }),
    ("may sign certificates", Some(CertificateError::LeafIsCa), |params| {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        Ok(())
    }),
    ("two URIs", Some(CertificateError::Identity), |params| {
        let second = params.subject_alt_names[0].clone();
        params.subject_alt_names.push(second);
        Ok(())
    }),
    ("no URI", Some(CertificateError::Identity), |params| {
        params.subject_alt_names = vec![SanType::DnsName("node.invalid".try_into()?)];
        Ok(())
    }),
    ("a URI of another scheme", Some(CertificateError::Identity), |params| {
        params.subject_alt_names = vec![SanType::URI("https://dk.politi".try_into()?)];
        Ok(())
    }),
    ("no names at all", Some(CertificateError::Identity), |params| {
        params.subject_alt_names.clear();
        Ok(())
    }),
    ("not for clientAuth", Some(CertificateError::Usage), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(())
    }),
    ("for no use in particular", Some(CertificateError::Usage), |params| {
        params.extended_key_usages.clear();
        Ok(())
    }),
    ("an unknown critical extension", Some(CertificateError::Extension), |params| {
        params.custom_extensions = vec![extension(UNKNOWN.0, UNKNOWN.1, true)];
        Ok(())
    }),
    ("name constraints", Some(CertificateError::Extension), |params| {
        let permitted = GeneralSubtree::DnsName("entente.invalid".to_owned());
        let permitted_subtrees = vec![permitted];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        Ok(())
    }),
    ("name constraints that are not critical", Some(CertificateError::Extension), |params| {
        params.custom_extensions = vec![extension(CONSTRAINTS.0, CONSTRAINTS.1, false)];
        Ok(())
    }),
];

/// The right CA signed them all: what is outside of the profile is refused all the same, and the
/// alert never says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_outside_of_the_profile_is_refused_at_both_doors() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (ours, theirs) = (Layout::new(&dk.home), Layout::new(&fr.home));
    let users = issuer(&ours.user_ca(), &ours.users().join("ca.key"))?;
    let nodes = issuer(&theirs.roots(), &fr.home.join("tls/ca.key"))?;
    let officer = format!("{}/user/officer", dk.authority.uri());
    for (name, expected, change) in VARIANTS {
        for (door, ca, mut params) in [
            (dk.running().desk, &users, leaf(&officer, &[ClientAuth])?),
            (dk.running().exchange, &nodes, leaf(&fr.authority.uri(), &[ServerAuth, ClientAuth])?),
        ] {
            change(&mut params)?;
            let card = Card::signed(ca, &params)?;
            let fits = check_leaf(&card.certificate, Clock::system().now());
            // The kind: the day is not the same every day.
            let kind = |error: &CertificateError| std::mem::discriminant(error);
            assert_eq!(fits.err().as_ref().map(kind), expected.as_ref().map(kind), "{name}");
            let config = card.config()?;
            match expected {
                None => drop(let_in(&config, door).await.context(name)?),
                Some(_) => {
                    let alert = refusal(&config, door).await.context(name)?;
                    assert_eq!(alert, AlertDescription::CertificateUnknown, "{name}");
                }
            }
        }
    }
    // A node is called as well as it calls.
    let params = leaf(&fr.authority.uri(), &[ClientAuth])?;
    let config = Card::signed(&nodes, &params)?.config()?;
    let alert = refusal(&config, dk.running().exchange).await?;
    assert_eq!(alert, AlertDescription::CertificateUnknown);
    federation.stop().await
}

/// Who may come in where: the right CA, and a name that is not for this door.
#[tokio::test(flavor = "multi_thread")]
async fn a_ca_vouches_for_its_own_names_only() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (ours, theirs) = (Layout::new(&dk.home), Layout::new(&fr.home));
    let users = issuer(&ours.user_ca(), &ours.users().join("ca.key"))?;
    let nodes = issuer(&theirs.roots(), &fr.home.join("tls/ca.key"))?;
    let (desk, exchange) = (dk.running().desk, dk.running().exchange);
    let (dk, fr) = (&dk.authority, &fr.authority);
    for (door, ca, uri) in [
        (desk, &users, dk.uri()),
        (desk, &users, format!("{}/user/officer", fr.uri())),
        (desk, &nodes, format!("{}/user/officer", dk.uri())),
        (exchange, &nodes, dk.uri()),
        (exchange, &nodes, "entente://se.polisen".to_owned()),
        (exchange, &nodes, format!("{}/user/officer", fr.uri())),
        (exchange, &users, fr.uri()),
    ] {
        let card = Card::signed(ca, &leaf(&uri, &[ServerAuth, ClientAuth])?)?;
        let alert = refusal(&card.config()?, door).await.context(uri.clone())?;
        assert_eq!(alert, AlertDescription::CertificateUnknown, "{uri}");
    }
    federation.stop().await
}
