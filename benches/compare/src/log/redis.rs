//! Redis Streams, spoken in its own protocol: a connection for each thread; many events go in as one transaction, so
//! that they are written and synced together.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::event::Event;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;
use crate::server::{self, Server};

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "appendonly yes, appendfsync always: fdatasync before the answers of an event loop turn; \
     XADD, or MULTI/EXEC of them; a connection a thread, TCP on loopback";

const STREAM: &str = "events";

pub(crate) struct Redis {
    server: Server,
    name: String,
}

impl Redis {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let program = server::find("redis-server", "redis-server")?;
        std::fs::create_dir_all(dir)?;
        let port = server::free_port()?;
        let path = dir.to_str().context("a directory whose name is text")?;
        let port_text = port.to_string();
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port_text,
            "--dir",
            path,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--auto-aof-rewrite-percentage",
            "0",
            "--daemonize",
            "no",
        ];
        let server =
            Server::start(&program, &arguments, None, port, &dir.with_extension("out"), Signal::TERM)?;
        let name = server::run(&program, &["--version"], None)?;
        let name = name.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        Ok(Self { server, name })
    }

    fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.server.address())?;
        stream.set_nodelay(true)?;
        let replies = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        Ok(Connection { stream, replies, request: Vec::new() })
    }
}

impl Peer for Redis {
    fn committer(&self, _: usize, _: Shape) -> Result<Box<dyn Committer>> {
        let mut connection = self.connect()?;
        let set = connection.call(&[b"CONFIG", b"GET", b"appendfsync"])?;
        if !set.ends_with("always") {
            bail!("appendfsync is {set}");
        }
        Ok(Box::new(connection))
    }

    fn version(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.process())
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        Ok(self.connect()?.call(&[b"XLEN", STREAM.as_bytes()])?.parse()?)
    }
}

struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    fn push(&mut self, words: &[&[u8]]) {
        // A vector takes everything.
        let _ = write!(self.request, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.request, "${}\r\n", word.len());
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.request.clear();
        Ok(())
    }

    fn call(&mut self, words: &[&[u8]]) -> Result<String> {
        self.push(words);
        self.send()?;
        self.reply()
    }

    /// One reply; of an array the last element.
    fn reply(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.replies.read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let rest = line.get(1..).context("the server hung up")?;
        match line.as_bytes()[0] {
            b'+' | b':' => Ok(rest.to_owned()),
            b'$' => {
                let mut bytes = vec![0; rest.parse::<usize>().context("a bulk reply")? + 2];
                self.replies.read_exact(&mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
            }
            b'*' => {
                let mut last = String::new();
                for _ in 0..rest.parse::<usize>().context("a transaction that was carried out")? {
                    last = self.reply()?;
                }
                Ok(last)
            }
            _ => bail!("redis answers {line}"),
        }
    }
}

impl Committer for Connection {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let many = events.len() > 1;
        if many {
            self.push(&[b"MULTI"]);
        }
        for event in events {
            self.push(&[b"XADD", STREAM.as_bytes(), b"*", b"e", event]);
        }
        if many {
            self.push(&[b"EXEC"]);
        }
        self.send()?;
        // One for each command.
        let replies = if many { events.len() + 2 } else { 1 };
        (0..replies).try_for_each(|_| self.reply().map(drop))
    }
}
