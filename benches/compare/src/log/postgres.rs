//! PostgreSQL: a connection for each thread; many rows go in by COPY.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use postgres::{Client, Config, NoTls, Statement};
use rustix::process::{Signal, getuid};

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer, key};
use crate::log::shape::Shape;
use crate::server::{self, Account, Server};

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "fsync=on, synchronous_commit=on, wal_sync_method=fdatasync, max_wal_size=8GB; INSERT, or \
     COPY BINARY for many; a connection a thread, TCP on loopback";

const INSTALL: &str = "postgresql";
const USER: &str = "downbeat";

/// A cluster of its own.
pub(crate) struct Postgres {
    server: Server,
    name: String,
}

impl Postgres {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let program = server::find("postgres", INSTALL)?;
        let initdb = server::find("initdb", INSTALL)?;
        std::fs::create_dir_all(dir)?;
        // It refuses to run as root.
        let account = if getuid().is_root() {
            let account = Account::named("postgres").or_else(|| Account::named("nobody"));
            Some(account.context(
                "skipped: PostgreSQL does not run as root, and there is no user postgres or nobody",
            )?)
        } else {
            None
        };
        if let Some(account) = account {
            account.own(dir)?;
        }
        let data = dir.join("data");
        let data = data.to_str().context("a directory whose name is text")?;
        server::run(
            &initdb,
            &["-D", data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
            account,
        )?;
        let port = server::free_port()?;
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
            "wal_sync_method=fdatasync".to_owned(),
            "max_wal_size=8GB".to_owned(),
            "shared_buffers=256MB".to_owned(),
        ];
        let mut arguments = vec!["-D", data];
        for setting in &settings {
            arguments.extend(["-c", setting]);
        }
        let log = dir.with_extension("out");
        let server = Server::start(&program, &arguments, account, port, &log, Signal::INT)?;
        let name = server::run(&program, &["--version"], None)?;
        let started = Self { server, name };
        started
            .connect()?
            .batch_execute("CREATE TABLE events (number bigint PRIMARY KEY, body bytea NOT NULL)")?;
        Ok(started)
    }

    fn connect(&self) -> Result<Client> {
        let address = self.server.address();
        let mut config = Config::new();
        config.host(&address.ip().to_string()).port(address.port()).user(USER).dbname("postgres");
        Ok(config.connect(NoTls)?)
    }
}

impl Peer for Postgres {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        let mut client = self.connect()?;
        for (setting, wanted) in [("fsync", "on"), ("synchronous_commit", "on")] {
            let is: String = client.query_one(&format!("SHOW {setting}"), &[])?.get(0);
            if is != wanted {
                bail!("{setting} is {is}");
            }
        }
        let insert = client.prepare("INSERT INTO events (number, body) VALUES ($1, $2)")?;
        Ok(Box::new(Connection { client, insert, rows: Vec::new(), index }))
    }

    fn version(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.process())
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        let count: i64 = self.connect()?.query_one("SELECT count(*) FROM events", &[])?.get(0);
        Ok(count.try_into()?)
    }
}

struct Connection {
    client: Client,
    insert: Statement,
    rows: Vec<u8>,
    index: usize,
}

impl Committer for Connection {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        if let [event] = events {
            let number = key(self.index, number(event)).cast_signed();
            self.client.execute(&self.insert, &[&number, &event.as_slice()])?;
            return Ok(());
        }
        self.rows.clear();
        binary_copy(&mut self.rows, self.index, events);
        let mut copy = self.client.copy_in("COPY events (number, body) FROM STDIN BINARY")?;
        copy.write_all(&self.rows)?;
        copy.finish()?;
        Ok(())
    }
}

/// The binary form of COPY: a header, rows of two fields with their lengths, an end.
fn binary_copy(out: &mut Vec<u8>, index: usize, events: &[Event]) {
    out.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
    out.extend_from_slice(&[0; 8]);
    for event in events {
        out.extend_from_slice(&2i16.to_be_bytes());
        out.extend_from_slice(&8i32.to_be_bytes());
        out.extend_from_slice(&key(index, number(event)).to_be_bytes());
        out.extend_from_slice(&(event.len() as i32).to_be_bytes());
        out.extend_from_slice(event);
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
}
