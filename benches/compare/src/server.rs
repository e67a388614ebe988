//! Servers that are measured: found, started on loopback with their data in a directory of ours, and ended.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user that a server runs as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// A user of this machine by name, from the list of users.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    /// Gives a directory to it.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| format!("giving {} away", path.display()))
    }
}

/// A program by name: on the path, or where Debian puts it.
pub(crate) fn find(name: &str, install: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> =
            versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
        // The newest first, and before a wrapper that stands on the path.
        versions.sort_unstable();
        places.splice(0..0, versions.into_iter().rev());
    }
    let found = places.iter().map(|place| place.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("skipped: no {name} here; to install it: apt-get install {install}"))
}

/// A port on loopback that nobody uses.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Runs a program to its end.
pub(crate) fn run(program: &Path, arguments: &[&str], account: Option<Account>) -> Result<String> {
    let output = command(program, account).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", program.display(), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command that ends with this process, whatever ends this process.
fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(Account { uid, gid }) = account {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

/// A server that runs until this value is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    stop: Signal,
}

impl Server {
    /// Starts a server and waits until it listens on `port`; what it prints goes to `log`. It is asked to end by the
    /// signal `stop`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        account: Option<Account>,
        port: u16,
        log: &Path,
        stop: Signal,
    ) -> Result<Self> {
        let out = fs::File::create(log).with_context(|| format!("{}", log.display()))?;
        let child = command(program, account)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {} by setpriv of util-linux", program.display()))?;
        let mut server = Self { child, port, stop };
        let begun = Instant::now();
        while TcpStream::connect_timeout(&server.address(), Duration::from_millis(100)).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                let how = ended
                    .map_or_else(|| "does not listen".to_owned(), |status| format!("ended with {status}"));
                bail!("{} {how}: {}", program.display(), last.join(" | "));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        for signal in [self.stop, Signal::KILL] {
            if let Some(process) = process {
                // One that has ended already is not there.
                let _ = kill_process(process, signal);
            }
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_says_what_to_install() {
        let error = find("no-such-server", "some-package").expect_err("it is not there");
        assert_eq!(
            error.to_string(),
            "skipped: no no-such-server here; to install it: apt-get install some-package"
        );
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_words() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let port = free_port().expect("a port");
        let shell = Path::new("/bin/sh");
        let started =
            Server::start(shell, &["-c", "echo no such thing; exit 3"], None, port, log.path(), Signal::TERM);
        let error = started.err().expect("it ends").to_string();
        assert!(error.contains("no such thing") && error.contains('3'), "{error}");
    }
}
