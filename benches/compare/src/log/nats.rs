//! NATS JetStream, spoken in its own protocol: a connection for each thread; many events are published before their
//! acknowledgements are awaited.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::event::Event;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;
use crate::server::{self, Server};

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "JetStream, file storage, one replica; a connection a thread, acknowledgements awaited together, TCP on loopback";

/// Why it is not compared with.
pub(crate) const LESS: &str =
    "acknowledges what is not synced: this version refuses sync_interval, and syncs in the background";

const STREAM: &str = "EVENTS";

pub(crate) struct Nats {
    server: Server,
    name: String,
}

impl Nats {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let program = server::find("nats-server", "nats-server")?;
        std::fs::create_dir_all(dir)?;
        let port = server::free_port()?;
        let path = dir.to_str().context("a directory whose name is text")?;
        let port_text = port.to_string();
        let arguments = ["--addr", "127.0.0.1", "--port", &port_text, "--jetstream", "--store_dir", path];
        let server =
            Server::start(&program, &arguments, None, port, &dir.with_extension("out"), Signal::TERM)?;
        let name = server::run(&program, &["--version"], None)?;
        let started = Self { server, name };
        let wanted =
            format!(r#"{{"name":"{STREAM}","subjects":["events"],"storage":"file","num_replicas":1}}"#);
        started.connect(0)?.call(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &wanted)?;
        Ok(started)
    }

    fn connect(&self, index: usize) -> Result<Connection> {
        let stream = TcpStream::connect(self.server.address())?;
        stream.set_nodelay(true)?;
        let replies = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        let inbox = format!("_INBOX.{index}");
        let mut connection = Connection { stream, replies, request: Vec::new(), inbox };
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {} 1\r\nPING\r\n", connection.inbox);
        connection.request.extend_from_slice(hello.as_bytes());
        connection.send()?;
        while connection.line()? != "PONG" {}
        Ok(connection)
    }
}

impl Peer for Nats {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        Ok(Box::new(self.connect(index + 1)?))
    }

    fn version(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.process())
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        let info = self.connect(0)?.call(&format!("$JS.API.STREAM.INFO.{STREAM}"), "")?;
        info["state"]["messages"].as_u64().context("a stream that tells how much it holds")
    }
}

struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    request: Vec<u8>,
    inbox: String,
}

impl Connection {
    fn publish(&mut self, subject: &str, payload: &[u8]) {
        // A vector takes everything.
        let _ = write!(self.request, "PUB {subject} {} {}\r\n", self.inbox, payload.len());
        self.request.extend_from_slice(payload);
        self.request.extend_from_slice(b"\r\n");
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.request.clear();
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.replies.read_line(&mut line)? > 0, "nats-server hung up");
        Ok(line.trim_end().to_owned())
    }

    /// The body of the next message for us.
    fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            let line = self.line()?;
            match line.split(' ').next() {
                Some("MSG") => {
                    let length: usize = line.rsplit(' ').next().context("a length")?.parse()?;
                    let mut body = vec![0; length + 2];
                    self.replies.read_exact(&mut body)?;
                    body.truncate(length);
                    return Ok(body);
                }
                Some("PING") => {
                    self.request.extend_from_slice(b"PONG\r\n");
                    self.send()?;
                }
                Some("INFO" | "PONG") => {}
                _ => bail!("nats-server says {line}"),
            }
        }
    }

    fn call(&mut self, subject: &str, payload: &str) -> Result<Value> {
        self.publish(subject, payload.as_bytes());
        self.send()?;
        let answer: Value = serde_json::from_slice(&self.message()?)?;
        ensure!(answer["error"].is_null(), "nats-server answers {}", answer["error"]);
        Ok(answer)
    }
}

impl Committer for Connection {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            self.publish("events", event);
        }
        self.send()?;
        for _ in events {
            let answer = self.message()?;
            let is_error = answer.windows(7).any(|word| word == b"\"error\"");
            ensure!(!is_error, "nats-server answers {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}
