//! What is wrong with the files of a node's certificate is named as what it is.

use std::fs;

use anyhow::Context;
use entente_node::home::{Layout, State, check, draft_descriptor};
use entente_node::id::Clock;
use entente_node::pki::Authority;
use entente_tests::federation::{Federation, sign};
use rcgen::{BasicConstraints, DnType, IsCa, Issuer, KeyPair};

use crate::client::DAY_S;
use crate::roots::{IN_FORCE, root};

/// A CA below another, as PEM with its key.
fn intermediate(above: &Issuer<'_, KeyPair>) -> anyhow::Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    let (mut params, _) = root("intermediate", &key, IN_FORCE)?;
    params.distinguished_name.push(DnType::CommonName, "politi intermediate CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    Ok((params.signed_by(&key, above)?.pem(), key))
}

fn der(pem: &str) -> anyhow::Result<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    Ok(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec())
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// With a byte-order mark.
fn marked(text: &str) -> Vec<u8> {
    [b"\xEF\xBB\xBF", text.as_bytes()].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_files_are_refused_for_what_is_wrong_with_them() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    federation.nodes[0].stop().await?;
    let dk = &federation.nodes[0];
    let (layout, clock) = (Layout::new(&dk.home), Clock::system());
    let key = KeyPair::generate()?;
    let (mut above, _) = root("politi root CA", &key, IN_FORCE)?;
    above.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let root = above.self_signed(&key)?.pem();
    let (middle, middle_key) = intermediate(&Issuer::from_params(&above, key))?;
    fs::write(layout.roots(), &root)?;
    draft_descriptor(&dk.home, &clock)?;
    sign(&layout)?;

    let own = Authority::open(&middle, &middle_key.serialize_pem())?;
    let issued = own.node(&dk.authority, &[], clock.now())?;
    let ended = own.node(&dk.authority, &[], clock.now().plus(-400 * DAY_S))?;
    let (leaf, leaf_key) = (issued.certificate_pem, issued.key_pem.expose().clone());
    let sealed = leaf_key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let legacy =
        leaf_key.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
    let chain = leaf.clone() + &middle;
    let request = entente_node::pki::request(&dk.authority, "jensen", clock.now())?.request_pem;
    let day = clock.now().plus(-400 * DAY_S + 396 * DAY_S).date().to_string();
    for (certificate, key, says) in [
        (bytes(&chain), bytes(&leaf_key), &[][..]),
        (bytes(&(chain.clone() + &root)), bytes(&leaf_key), &[]),
        (marked(&chain), marked(&leaf_key), &[]),
        (bytes(&leaf), bytes(&leaf_key), &["leads to CN=politi intermediate CA", "Append"]),
        (
            bytes(&(middle.clone() + &leaf)),
            bytes(&leaf_key),
            &["begins with the certificate of a CA"],
        ),
        (bytes(&middle), bytes(&leaf_key), &["is the certificate of a CA"]),
        (bytes(&chain), bytes(&sealed), &["node.key", "passphrase", "openssl pkey"]),
        (bytes(&chain), bytes(&legacy), &["node.key", "passphrase", "openssl pkey"]),
        (bytes(&chain), bytes(&leaf), &["node.key", "holds a certificate, not its private key"]),
        (
            bytes(&leaf_key),
            bytes(&leaf_key),
            &["node.pem", "holds a private key, not a certificate"],
        ),
        (bytes(&request), bytes(&leaf_key), &["node.pem", "holds a certificate request"]),
        (der(&leaf)?, bytes(&leaf_key), &["node.pem", "is DER or PKCS#12, not PEM"]),
        (bytes(&chain), KeyPair::generate()?.serialize_der(), &["node.key", "is DER or PKCS#12"]),
        (utf16(&chain), bytes(&leaf_key), &["node.pem", "is UTF-16"]),
        (Vec::new(), bytes(&leaf_key), &["node.pem", "is empty"]),
        (bytes(&leaf[..leaf.len() / 2]), bytes(&leaf_key), &["node.pem", "cut or changed"]),
        (bytes(&chain), bytes(&middle_key.serialize_pem()), &["is not the key of", "node.pem"]),
        (
            bytes(&(ended.certificate_pem + &middle)),
            bytes(ended.key_pem.expose()),
            &["the node's own certificate", "ended on", &day, "entente certs node"],
        ),
    ] {
        fs::write(layout.certificate(), certificate)?;
        fs::write(layout.certificate_key(), key)?;
        let findings = check(&dk.home, &clock);
        let found = findings.iter().find(|finding| finding.part == "certificates");
        let found = found.context("looked at")?;
        assert_eq!(found.state == State::Failed, !says.is_empty(), "{says:?}: {found:?}");
        for said in says {
            assert!(found.found.contains(said), "{said:?} is not in {found:?}");
        }
    }
    federation.stop().await
}
