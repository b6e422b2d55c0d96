//! `entente alert verify`: the signature and the rules, without a node and without a network.

use std::path::Path;

use entente_node::alert;
use entente_node::id::Clock;
use entente_node::trust::SignedDescriptor;
use serde_json::json;

use crate::kind::Kind;
use crate::output::{Answer, Failure, Outcome, fields};

pub fn verify(file: &Path, descriptor: &Path) -> Outcome {
    let named = |path: &Path, error: String| Failure::new(format!("{}: {error}", path.display()));
    let token = Kind::Alert.read(file)?;
    let issuer = SignedDescriptor::parse(&Kind::Descriptor.read(descriptor)?)
        .map_err(|error| named(descriptor, error.to_string()))?;
    let said = issuer.descriptor();
    let now = Clock::system().now();
    let key_of = |authority: &_, kid: &_| {
        let mut keys = said.statement_keys.iter().filter(|_| *authority == said.authority);
        keys.find(|dated| dated.key.key_id() == *kid && dated.valid_at(now)).map(|d| d.key.clone())
    };
    let view = alert::verify(token.trim(), key_of, now)
        .map_err(|error| named(file, format!("{error} ({})", error.reason())))?;
    let claims = view.claims.names();
    let head = &view.head;
    let text = fields(&[
        ("verified", format!("signed by {}; its claims are permitted", head.id.authority())),
        ("alert", head.id.to_string()),
        ("version", head.version.to_string()),
        ("issued", head.issued_at.to_string()),
        ("claims", claims.join(", ")),
        ("identity", issuer.fingerprint().to_string()),
    ]);
    let json = json!({
        "ok": true, "id": head.id, "version": head.version, "issued_at": head.issued_at,
        "claims": claims, "fingerprint": issuer.fingerprint().to_string(),
    });
    Ok(Answer::new(json, text))
}
