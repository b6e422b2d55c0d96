//! A server's verdict on our certificate. In TLS 1.3 the handshake ends here before the server has
//! looked at it, so a refusal is the first thing to read, where HTTP/2 would begin.

use std::io;
use std::time::Duration;

use rustls::Error;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::target::Target;
use crate::trust::Identity;

/// How long the server may take to send something: it does so as soon as it lets somebody in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until the server sends something. We send nothing before: a server that closes with unread
/// data would reset the connection, and its reason could be lost.
///
/// # Errors
/// One sentence for people, always the same: the server refused us, or went away.
pub async fn answered(
    mut tls: TlsStream<TcpStream>,
    target: &Target,
) -> Result<TlsStream<TcpStream>, String> {
    let authority = &target.authority;
    match tokio::time::timeout(ANSWER_TIMEOUT, tls.fill_buf()).await {
        Err(_) => Err(format!("{authority} let this connection in, and then said nothing for 5 s")),
        Ok(Ok(spoken)) if !spoken.is_empty() => Ok(tls),
        Ok(Err(error)) if is_alert(&error) => Err(refused(target)),
        Ok(_) => Err(format!(
            "{authority} closed the connection before it answered: its node is ending, or has as \
             many connections as it takes"
        )),
    }
}

fn is_alert(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(Error::AlertReceived(_)))
}

fn refused(target: &Target) -> String {
    let authority = &target.authority;
    match target.own.identity() {
        Identity::Node(own) => format!(
            "{authority} refused this node's certificate: ask its administrator whether {own} is \
             approved there and has this certificate's root"
        ),
        Identity::User(..) => format!(
            "the node of {authority} refused this certificate: ask its administrator whether the \
             user CA of the node has issued it, and whether it is valid today"
        ),
    }
}
