//! etcd: a connection for each thread; many keys go in as one transaction.
//!
//! The messages are those of its `rpc.proto`, as far as they are needed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use prost::Message;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer, key};
use crate::log::shape::Shape;
use crate::server::{self, Server};

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "one member, a put is answered when its raft log is synced; Put, or Txn of puts \
     (max-txn-ops, max-request-bytes raised); a connection a thread, gRPC on loopback";

const TXN: &str = "/etcdserverpb.KV/Txn";
const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
/// The most bytes of one message, either way.
const MESSAGE_MAX: usize = 32 << 20;

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Putted {}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnDone {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
    #[prost(bool, tag = "9")]
    count_only: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Ranged {
    #[prost(int64, tag = "4")]
    count: i64,
}

pub(crate) struct Etcd {
    server: Server,
    name: String,
    /// Connections so far, each a directory of keys of its own.
    connections: AtomicU64,
}

impl Etcd {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let program = server::find("etcd", "etcd-server")?;
        std::fs::create_dir_all(dir)?;
        let [port, peers] = [server::free_port()?, server::free_port()?];
        let data = dir.join("data");
        let data = data.to_str().context("a directory whose name is text")?;
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let members = format!("default={peer_url}");
        let bytes = MESSAGE_MAX.to_string();
        let arguments = [
            "--data-dir",
            data,
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
            "--initial-cluster",
            &members,
            "--max-txn-ops",
            "65536",
            "--max-request-bytes",
            &bytes,
            "--quota-backend-bytes",
            "8589934592",
            "--log-level",
            "error",
        ];
        let server =
            Server::start(&program, &arguments, None, port, &dir.with_extension("out"), Signal::TERM)?;
        let name = server::run(&program, &["--version"], None)?;
        let name = name.lines().next().unwrap_or("etcd").to_owned();
        let started = Self { server, name, connections: AtomicU64::new(0) };
        // It listens before it has a leader.
        let mut first = started.connect(0)?;
        let ready = (0..50).any(|_| {
            let answered = first.count().is_ok();
            if !answered {
                std::thread::park_timeout(std::time::Duration::from_millis(100));
            }
            answered
        });
        ensure!(ready, "etcd has no leader");
        Ok(started)
    }

    fn connect(&self, index: usize) -> Result<Connection> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.address()))?.tcp_nodelay(true);
        let channel = runtime.block_on(endpoint.connect())?;
        let grpc =
            Grpc::new(channel).max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX);
        Ok(Connection { runtime, grpc, index })
    }
}

impl Peer for Etcd {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        Ok(Box::new(self.connect(index)?))
    }

    fn version(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.process())
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        self.connect(0)?.count()
    }
}

struct Connection {
    runtime: Runtime,
    grpc: Grpc<Channel>,
    index: usize,
}

impl Connection {
    fn call<Q: Message + 'static, A: Message + Default + 'static>(
        &mut self,
        path: &'static str,
        request: Q,
    ) -> Result<A> {
        let grpc = &mut self.grpc;
        let answer = self.runtime.block_on(async {
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            let path = PathAndQuery::from_static(path);
            Ok::<_, anyhow::Error>(grpc.unary(tonic::Request::new(request), path, codec).await?)
        })?;
        Ok(answer.into_inner())
    }

    fn count(&mut self) -> Result<u64> {
        let all = Range { key: vec![0], range_end: vec![0], count_only: true };
        let ranged: Ranged = self.call(RANGE, all)?;
        Ok(ranged.count.try_into()?)
    }

    fn put(&self, event: &Event) -> Put {
        Put { key: key(self.index, number(event)).to_be_bytes().to_vec(), value: event.to_vec() }
    }
}

impl Committer for Connection {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        if let [event] = events {
            let _: Putted = self.call(PUT, self.put(event))?;
            return Ok(());
        }
        let success = events.iter().map(|event| Operation { put: Some(self.put(event)) }).collect();
        let done: TxnDone = self.call(TXN, Txn { success })?;
        ensure!(done.succeeded, "etcd did not carry out the transaction");
        Ok(())
    }
}
