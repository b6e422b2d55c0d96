//! What a file holds that should hold a key or a certificate in PEM: people exchange files, and
//! formats.

use crate::text::other_encoding;

/// Says what these bytes are, which should be a private key in PEM; `None` when that can't be told.
pub fn key_fault(bytes: &[u8]) -> Option<&'static str> {
    if holds(bytes, "ENCRYPTED") {
        return Some(
            "holds a key under a passphrase, and nobody is there to type it: take it off with \
             `openssl pkey -in FILE -out NEW`, and let nobody else read the folder",
        );
    }
    if holds(bytes, "-----BEGIN CERTIFICATE") {
        return Some("holds a certificate, not its private key: are the two files exchanged?");
    }
    not_pem(bytes)
}

/// What bytes are that should be a certificate in PEM.
pub fn certificate_fault(bytes: &[u8]) -> &'static str {
    if holds(bytes, "PRIVATE KEY-----") {
        return "holds a private key, not a certificate: are the two files exchanged?";
    }
    if holds(bytes, "-----BEGIN CERTIFICATE REQUEST") {
        return "holds a certificate request: what the CA made of it belongs here";
    }
    if holds(bytes, "-----BEGIN CERTIFICATE") {
        return "holds a certificate that was cut or changed: its PEM can't be read";
    }
    not_pem(bytes).unwrap_or("holds no certificate in PEM")
}

/// Says what a file holds that has no `-----BEGIN`.
fn not_pem(bytes: &[u8]) -> Option<&'static str> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Some("is empty");
    }
    // A SEQUENCE of more than 127 bytes: every certificate, key and PKCS#12 file begins like this.
    if bytes.starts_with(&[0x30, 0x81]) || bytes.starts_with(&[0x30, 0x82]) {
        return Some(
            "is DER or PKCS#12, not PEM: convert it with `openssl x509`, `openssl pkey` or \
             `openssl pkcs12`",
        );
    }
    other_encoding(bytes).map(|_| "is UTF-16 or UTF-32, not PEM: save it as plain text")
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
