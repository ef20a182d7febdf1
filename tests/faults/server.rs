//! A verge-dns of our own as a process: started, measured from outside, killed.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustls::pki_types::CertificateDer;
use verge_stack::dns_client::carrier::Carrier;

/// Where a server's files are, so that one can be killed and another take its place.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    program: PathBuf,
    /// The server's certificate, which is its own root.
    pub(crate) root: CertificateDer<'static>,
}

/// A server that answers.
pub(crate) struct Server {
    child: Child,
    tcp: SocketAddr,
    encrypted: [SocketAddr; 3],
}

const CLOCK: &str = "wall_clock.so";
const OFFSET: &str = "clock_offset";

/// Which wall clock a server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The machine's.
    System,
    /// One that [`Site::set_clock`] sets.
    Ours,
}

/// The resources that a process has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Resident memory.
    pub(crate) rss_kib: u64,
    /// Processor time.
    pub(crate) cpu_ticks: u64,
}

/// The kernel's unit of processor time in `/proc` (USER_HZ).
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// `big.example.net` has 60 KiB of text.
fn zone() -> String {
    let big: String = (0..240).map(|n| format!("big TXT {n:0250}\n")).collect();
    format!("$TTL 60\n@ SOA ns h 1 2h 30m 2w 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n{big}")
}

impl Site {
    pub(crate) fn new(program: &Path) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("zones"))?;
        std::fs::write(folder.path().join("zones/example.net.zone"), zone())?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        std::fs::write(folder.path().join("chain.pem"), made.cert.pem())?;
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        let site = Self { folder, program: program.canonicalize()?, root: made.cert.der().clone() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/wall_clock.c");
        let compiler = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", source, "-o"])
            .arg(site.file(CLOCK))
            .status()?;
        if !compiler.success() {
            return Err(io::Error::other("wall_clock.c needs a C compiler"));
        }
        Ok(site)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets the wall clock of the servers, seconds ahead of everybody else's.
    pub(crate) fn set_clock(&self, seconds: i64) -> io::Result<()> {
        std::fs::write(self.file(OFFSET), seconds.to_string())
    }

    /// Starts a server on `ports` (0: any), with `settings` above all tables and at most so many `descriptors`.
    pub(crate) fn start(
        &self,
        settings: &str,
        ports: [u16; 4],
        descriptors: Option<u64>,
        clock: Clock,
    ) -> io::Result<Server> {
        let [plain, tls, https, quic] = ports;
        let config = format!(
            "{settings}
zones = \"zones\"
listen = [\"127.0.0.1:{plain}\"]
listen_tls = [\"127.0.0.1:{tls}\"]
listen_https = [\"127.0.0.1:{https}\"]
listen_quic = [\"127.0.0.1:{quic}\"]
log.level = \"error\"
[tls]
certificate = \"chain.pem\"
key = \"key.pem\"
"
        );
        std::fs::write(self.folder.path().join("dns.toml"), config)?;
        let mut command = match descriptors {
            Some(most) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={most}")).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(["serve", "--config", "dns.toml"]).current_dir(self.folder.path());
        if clock == Clock::Ours {
            command.env("LD_PRELOAD", self.file(CLOCK)).env("CLOCK_OFFSET", self.file(OFFSET));
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut next = || -> io::Result<SocketAddr> {
            let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            let address = line.split_whitespace().nth(1).and_then(|it| it.parse().ok());
            address.ok_or_else(|| io::Error::other(line))
        };
        let tcp = next()?;
        let encrypted = [next()?, next()?, next()?];
        Ok(Server { child, tcp, encrypted })
    }
}

impl Server {
    pub(crate) fn address(&self, carrier: Carrier) -> SocketAddr {
        let [tls, https, quic] = self.encrypted;
        match carrier {
            Carrier::Udp | Carrier::Tcp => self.tcp,
            Carrier::Tls => tls,
            Carrier::Get1 | Carrier::Post1 | Carrier::Get2 | Carrier::Post2 => https,
            Carrier::Quic => quic,
        }
    }

    /// For another server in its place.
    pub(crate) fn ports(&self) -> [u16; 4] {
        let [tls, https, quic] = self.encrypted;
        [self.tcp, tls, https, quic].map(|it| it.port())
    }

    pub(crate) fn taken(&self) -> io::Result<Taken> {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|it| it.split_whitespace().next()?.parse().ok());
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        // The fields behind the name, which may have blanks in it: 14 and 15 of proc_pid_stat(5).
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .map(|rest| rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect())
            .unwrap_or_default();
        Ok(Taken { rss_kib: rss_kib.unwrap_or_default(), cpu_ticks: fields.iter().sum() })
    }

    /// Datagrams that the kernel threw away because a receive buffer was full.
    pub(crate) fn dropped(&self) -> io::Result<u64> {
        let ports = self.ports().map(|port| format!(":{port:04X}"));
        let text = std::fs::read_to_string("/proc/net/udp")?;
        let ours = text.lines().filter(|line| {
            let local = line.split_whitespace().nth(1).unwrap_or_default();
            ports.iter().any(|port| local.ends_with(port))
        });
        Ok(ours.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already where the fault was its end.
        let _ = self.kill();
    }
}
