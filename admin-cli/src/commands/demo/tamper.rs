//! Ways to forge an alert, each of which every node refuses.

use base64ct::{Base64UrlUnpadded, Encoding};

/// What was forged, and the token that came of it.
pub fn forgeries(token: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = token.split('~').collect();
    let (Some(jwt), Some(first)) = (parts.first(), parts.get(1)) else { return Vec::new() };
    let rest = parts.get(2..).unwrap_or_default().join("~");
    vec![
        ("a disclosed value changed", format!("{jwt}~{}~{rest}", changed(first))),
        ("a disclosure used twice", format!("{jwt}~{first}~{first}~{rest}")),
        ("a claim added that was never signed", format!("{token}{}~", foreign())),
        ("the signature changed", token.replacen(jwt, &signature_changed(jwt), 1)),
        ("the algorithm set to none", token.replacen(jwt, &without_algorithm(jwt), 1)),
    ]
}

fn changed(disclosure: &str) -> String {
    let mut bytes = Base64UrlUnpadded::decode_vec(disclosure).unwrap_or_default();
    // The byte before the closing `"]` or `]`: a letter or digit of the value.
    let place = bytes.len().saturating_sub(3);
    if let Some(byte) = bytes.get_mut(place) {
        *byte = if *byte == b'a' { b'b' } else { b'a' };
    }
    Base64UrlUnpadded::encode_string(&bytes)
}

fn foreign() -> String {
    let disclosure = br#"["c2FsdHNhbHRzYWx0c2FsdA","urgency","urgent"]"#;
    Base64UrlUnpadded::encode_string(disclosure)
}

fn signature_changed(jwt: &str) -> String {
    let Some((signed, signature)) = jwt.rsplit_once('.') else { return jwt.to_owned() };
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{swapped}{}", signature.get(1..).unwrap_or_default())
}

fn without_algorithm(jwt: &str) -> String {
    let header = br#"{"alg":"none","typ":"entente-alert+sd-jwt"}"#;
    let rest = jwt.split_once('.').map_or("", |(_, rest)| rest);
    format!("{}.{rest}", Base64UrlUnpadded::encode_string(header))
}
