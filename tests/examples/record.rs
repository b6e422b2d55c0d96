//! Records what two nodes of one version say to each other, for tests of later versions:
//! `tests/data/keep.sh` runs it between them.
//!
//! It stands at the receiver's exchange door, hands everything on, and keeps the receipts to
//! itself, so that the sender's offers stay open.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Parser;
use entente_node::home::Layout;
use entente_node::id::{AuthorityId, Clock};
use entente_node::outbound::connect;
use entente_node::server::door::Door;
use entente_node::shutdown::Trigger;
use entente_node::tls::{Exchange, Target, TlsIdentity, exchange_config, read_pem_certificates};
use entente_node::trust::{Directory, Peer, PeerState, SignedDescriptor};
use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_client::ExchangeClient;
use entente_proto::exchange::exchange_server::{self, ExchangeServer};
use entente_proto::exchange::from_receiver::Message;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

/// Without another receipt for this long the session is over.
const QUIET: Duration = Duration::from_secs(4);

#[derive(Parser)]
struct Cli {
    /// Home of the sender
    #[arg(long)]
    sender: PathBuf,
    /// Home of the receiver
    #[arg(long)]
    receiver: PathBuf,
    /// Where the sender connects to
    #[arg(long)]
    listen: SocketAddr,
    /// Where the receiver listens
    #[arg(long)]
    to: SocketAddr,
    /// Folder for the records
    #[arg(long)]
    out: PathBuf,
}

/// Messages one after the other, each after its length: four bytes, big-endian.
fn keep(out: &Path, name: &str, message: &impl prost::Message) {
    let bytes = message.encode_to_vec();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(out.join(name))
        .expect("a file for the record");
    let length = u32::try_from(bytes.len()).expect("a message within its bound");
    file.write_all(&length.to_be_bytes()).and_then(|()| file.write_all(&bytes)).expect("written");
}

struct Recorder {
    receiver: ExchangeClient<Channel>,
    out: PathBuf,
    /// Counts what came from the receiver.
    heard: Arc<watch::Sender<usize>>,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl exchange_server::Exchange for Recorder {
    type DeliverStream = Answers<proto::FromReceiver>;
    type RecoverStream = Answers<proto::RecoverResponse>;

    async fn deliver(
        &self,
        request: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let mut incoming = request.into_inner();
        let (onward, sent) = mpsc::channel(8);
        let (answers, returned) = mpsc::channel(8);
        let out = self.out.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                keep(&out, "sent", &message);
                if onward.send(message).await.is_err() {
                    return;
                }
            }
        });
        let mut receiver = self.receiver.clone();
        let mut outgoing = receiver.deliver(ReceiverStream::new(sent)).await?.into_inner();
        let (out, heard) = (self.out.clone(), Arc::clone(&self.heard));
        tokio::spawn(async move {
            while let Ok(Some(message)) = outgoing.message().await {
                keep(&out, "received", &message);
                heard.send_modify(|count| *count += 1);
                if let Some(Message::Resume(_)) = message.message {
                    let _ = answers.send(Ok(message)).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(returned)))
    }

    async fn describe(
        &self,
        request: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        self.receiver.clone().describe(request.into_inner()).await
    }

    async fn recover(
        &self,
        _: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unimplemented("nothing is recovered while it is recorded"))
    }
}

fn descriptor(home: &Path) -> anyhow::Result<SignedDescriptor> {
    let jws = std::fs::read_to_string(Layout::new(home).descriptor())?;
    Ok(SignedDescriptor::parse(&jws)?)
}

/// The receiver's door, as the sender knows it.
async fn stand_in(cli: &Cli, service: Recorder) -> anyhow::Result<Trigger> {
    let now = Clock::system().now();
    let sender = descriptor(&cli.sender)?;
    let peer = Peer::import(None, &sender, "record", now)?;
    let known = Directory::new(vec![Peer { state: PeerState::Active, ..peer }])?;
    let known = Arc::new(known);
    let layout = Layout::new(&cli.receiver);
    let own = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now)?;
    let directory = Arc::clone(&known);
    let config = exchange_config(&own, Exchange::new(move || Arc::clone(&directory)))?;
    let config = Arc::new(ArcSwap::from_pointee(config));
    let listener = TcpListener::bind(cli.listen).await?;
    let (trigger, shutdown) = Trigger::new();
    let peers = Arc::new(move || Arc::clone(&known));
    let incoming = Door { listener, config, connections_max: 8, peers }.open(shutdown);
    let serving = Server::builder().add_service(ExchangeServer::new(service));
    tokio::spawn(serving.serve_with_incoming(incoming));
    Ok(trigger)
}

/// A channel to the receiver, with the sender's certificate.
async fn as_sender(cli: &Cli) -> anyhow::Result<Channel> {
    let (sender, receiver) = (Layout::new(&cli.sender), Layout::new(&cli.receiver));
    let authority: AuthorityId = descriptor(&cli.receiver)?.descriptor().authority.clone();
    let now = Clock::system().now();
    let target = Target {
        authority,
        roots: read_pem_certificates(&receiver.roots())?,
        own: TlsIdentity::read(&sender.certificate(), &sender.certificate_key(), now)?,
    };
    connect(&cli.to.to_string(), &target).await.map_err(anyhow::Error::msg)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    std::fs::create_dir_all(&cli.out)?;
    let mut receiver = ExchangeClient::new(as_sender(&cli).await?);
    let (heard, mut hears) = watch::channel(0);
    let (out, heard) = (cli.out.clone(), Arc::new(heard));
    let service = Recorder { receiver: receiver.clone(), out, heard };
    let trigger = stand_in(&cli, service).await?;
    while *hears.borrow() == 0 || tokio::time::timeout(QUIET, hears.changed()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(trigger);
    let described = receiver.describe(proto::DescribeRequest {}).await?.into_inner();
    keep(&cli.out, "described", &described);
    let mut recovered = receiver.recover(proto::RecoverRequest::default()).await?.into_inner();
    while let Some(statement) = recovered.message().await? {
        keep(&cli.out, "recovered", &statement);
    }
    println!("recorded {} answers", *hears.borrow());
    Ok(())
}
