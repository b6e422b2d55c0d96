//! Requests byte by byte, as a caller sends them that means no good.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use entente_node::home::Layout;
use entente_node::id::{AuthorityId, Clock};
use entente_node::pki::{self, Authority};
use entente_node::tls::{Target, TlsIdentity, handshake, read_pem_certificates};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::client::GrpcService;
use tonic::codegen::{Body, http};
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Bytes sent at once.
const CHUNK: usize = 16 * 1024;

/// A request whose message announces `announced` bytes, of which `sent` come, and then nothing.
pub struct HalfSent {
    first: Option<Bytes>,
    left: usize,
}

impl HalfSent {
    pub fn new(announced: u32, sent: usize) -> Self {
        let mut prefix = BytesMut::new();
        prefix.put_u8(0);
        prefix.put_u32(announced);
        Self { first: Some(prefix.freeze()), left: sent }
    }

    /// A whole message, after which nothing comes, not even its end.
    pub fn message(message: &[u8]) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(message.len() as u32);
        bytes.put_slice(message);
        Self { first: Some(bytes.freeze()), left: 0 }
    }

    /// Headers, and nothing after them.
    pub fn silent() -> Self {
        Self { first: None, left: 0 }
    }
}

impl Body for HalfSent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Status>>> {
        static ZEROS: [u8; CHUNK] = [b' '; CHUNK];
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(hyper::body::Frame::data(first))));
        }
        if self.left == 0 {
            return Poll::Pending;
        }
        let length = self.left.min(CHUNK);
        self.left -= length;
        Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&ZEROS[..length])))))
    }
}

/// The answer to a request, whose body is kept and not read.
pub type Unread = http::Response<tonic::body::Body>;

/// Sends a request and keeps what comes back.
pub fn send(channel: &Channel, path: &str, body: HalfSent) -> JoinHandle<Option<Unread>> {
    let mut channel = channel.clone();
    let mut request = http::Request::new(tonic::body::Body::new(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().expect("a path");
    let grpc = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
    tokio::spawn(async move {
        std::future::poll_fn(|context| channel.poll_ready(context)).await.ok()?;
        channel.call(request).await.ok()
    })
}

/// A connection whose caller takes no byte of any answer.
pub struct Unreading {
    authority: AuthorityId,
    client: h2::client::SendRequest<Bytes>,
    /// Ends with the connection.
    pub open: JoinHandle<()>,
}

impl Unreading {
    pub async fn connect(
        home: &Path,
        authority: &AuthorityId,
        [pem, key]: &[PathBuf; 2],
        door: SocketAddr,
    ) -> anyhow::Result<Self> {
        let target = Target {
            authority: authority.clone(),
            roots: read_pem_certificates(&Layout::new(home).roots())?,
            own: TlsIdentity::read(pem, key, Clock::system().now())?,
        };
        let tls = handshake(TcpStream::connect(door).await?, &target).await?;
        let (client, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake(tls).await?;
        let open = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { authority: authority.clone(), client, open })
    }

    /// Asks, and gives the answer once it has begun; a request that `ends` is whole.
    pub async fn ask(
        &self,
        path: &str,
        message: &[u8],
        ends: bool,
    ) -> anyhow::Result<(http::Response<h2::RecvStream>, h2::SendStream<Bytes>)> {
        let mut client = self.client.clone().ready().await?;
        let request = http::Request::post(format!("https://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = client.send_request(request, false)?;
        let length = u32::try_from(message.len())?.to_be_bytes();
        body.send_data([&[0], &length[..], message].concat().into(), ends)?;
        Ok((answer.await?, body))
    }
}

/// The CA of a home's users.
pub fn user_ca(home: &Path) -> anyhow::Result<Authority> {
    let users = Layout::new(home).users();
    let read = |name| std::fs::read_to_string(users.join(name));
    Ok(Authority::open(&read("ca.pem")?, &read("ca.key")?)?)
}

/// Certificate and key of a user, from the home's own CA.
pub fn mint(home: &Path, authority: &AuthorityId, name: &str) -> anyhow::Result<[PathBuf; 2]> {
    let issued = user_ca(home)?.user(authority, name, Clock::system().now())?;
    pki::write_issued(home, name, &issued)?;
    Ok([home.join(format!("{name}.pem")), home.join(format!("{name}.key"))])
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How a call ended, once it has.
pub async fn status_of(answer: JoinHandle<Option<Unread>>) -> anyhow::Result<Status> {
    let answer = answer.await?.ok_or_else(|| anyhow::anyhow!("the connection broke"))?;
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Ok(status);
    }
    let mut body = answer.into_body();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(trailers) = frame?.into_trailers() {
            return Status::from_header_map(&trailers).ok_or_else(|| anyhow::anyhow!("no status"));
        }
    }
    anyhow::bail!("the answer ended without a status")
}
