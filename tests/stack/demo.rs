//! Starts the units of the demo with the configurations an operator would write, and ends them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use crate::origin::{self, Origin};

/// Where everything listens, and which zones are served.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Folder of zone files
    #[arg(long, value_name = "DIR", default_value = SAMPLE_ZONES, hide_default_value = true)]
    pub zones: PathBuf,
    /// Address that everything listens on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// All ports at once: 0 lets the system choose free ones
    #[arg(long, value_name = "0", value_parser = clap::value_parser!(u16).range(0..=0))]
    pub ports: Option<u16>,
    /// Port for DNS from outside
    #[arg(long, value_name = "PORT", default_value_t = 5300)]
    pub dns_port: u16,
    /// Port for DNS from inside
    #[arg(long, value_name = "PORT", default_value_t = 5301)]
    pub dns_inside_port: u16,
    /// Port of the DNS server's admin listener
    #[arg(long, value_name = "PORT", default_value_t = 9300)]
    pub dns_admin_port: u16,
    /// Port of the first edge
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub edge_port: u16,
    /// Port of the first edge's admin listener
    #[arg(long, value_name = "PORT", default_value_t = 9301)]
    pub edge_admin_port: u16,
    /// Port of the second edge
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub second_edge_port: u16,
    /// Port of the second edge's admin listener
    #[arg(long, value_name = "PORT", default_value_t = 9302)]
    pub second_edge_admin_port: u16,
    /// Port of the origin
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub origin_port: u16,
}

/// The address of the second edge in the pool `www`; the first has the address of everything.
const SECOND_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The repository's own zones, wherever the program is started from.
const SAMPLE_ZONES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../zones");

/// The running stack.
pub struct Demo {
    /// The name server.
    pub dns: verge_dns::serve::Running,
    /// Two edges, each with its own cache.
    pub edges: Vec<verge_edge::run::Running>,
    /// The origin that the edges fetch from.
    pub origin: Origin,
    /// Holds the files that the units make, such as their admin tokens.
    folder: tempfile::TempDir,
}

/// Starts everything. The parts tell the ports that the system chose (port 0).
pub async fn start(options: &Options) -> Result<Demo, StartError> {
    if !options.zones.is_dir() {
        return Err(StartError::NoZones { folder: options.zones.clone() });
    }
    for wanted in options.wanted() {
        wanted.check()?;
    }
    let folder = tempfile::tempdir().map_err(StartError::Folder)?;
    let address = options.at(options.origin_port);
    let origin = origin::start(address).await.map_err(|source| StartError::Origin { address, source })?;
    let first = start_edge(options, FIRST_EDGE, &[], &origin, folder.path()).await?;
    // The pool `www` has two addresses and one port. Not every system has the second address.
    let also = SocketAddr::new(SECOND_ADDRESS, first.listening().public[0].port());
    let also = TcpListener::bind(also).is_ok().then_some(also);
    let second = start_edge(options, SECOND_EDGE, also.as_slice(), &origin, folder.path()).await?;
    let edges = vec![first, second];
    let dns = start_dns(options, &edges, folder.path()).await?;
    let demo = Demo { dns, edges, origin, folder };
    demo.origin.tell(demo.surroundings());
    Ok(demo)
}

impl Demo {
    /// Lets what is under way end, and ends.
    pub async fn drain(self) {
        let edges = self.edges.into_iter().map(|edge| tokio::spawn(edge.drain()));
        for edge in edges.collect::<Vec<_>>() {
            // An edge that panicked has nothing left to drain.
            let _ = edge.await;
        }
        self.dns.drain().await;
        self.origin.drain().await;
        drop(self.folder);
    }

    /// Stops the second edge, if it has not been.
    pub async fn stop_second_edge(&mut self) {
        if self.edges.len() > 1
            && let Some(edge) = self.edges.pop()
        {
            edge.drain().await;
        }
    }

    /// Where outsiders ask for names.
    pub fn outside(&self) -> SocketAddr {
        self.dns.listening().outside[0]
    }

    /// Where insiders ask for names.
    pub fn inside(&self) -> SocketAddr {
        self.dns.listening().inside[0]
    }

    /// Where the edges answer, first edge first.
    pub fn edges(&self) -> Vec<SocketAddr> {
        self.edges.iter().map(|edge| edge.listening().public[0]).collect()
    }

    /// Every listener with what it is for.
    pub fn listening(&self) -> Vec<Listener> {
        let mut all = vec![
            Listener { what: "dns-outside", address: self.outside() },
            Listener { what: "dns-inside", address: self.inside() },
        ];
        all.extend(self.edges().into_iter().map(|address| Listener { what: "edge", address }));
        all.push(Listener { what: "origin", address: self.origin.address() });
        let dns_admin = self.dns.listening().admin.into_iter();
        all.extend(dns_admin.map(|address| Listener { what: "dns-admin", address }));
        let edge_admin = self.edges.iter().filter_map(|edge| edge.listening().admin);
        all.extend(edge_admin.map(|address| Listener { what: "edge-admin", address }));
        all
    }

    fn surroundings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("outside_host", self.outside().ip().to_string()),
            ("outside_port", self.outside().port().to_string()),
            ("inside_host", self.inside().ip().to_string()),
            ("inside_port", self.inside().port().to_string()),
        ])
    }
}

/// One address that takes questions.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Its purpose, in one word.
    pub what: &'static str,
    /// Where it is.
    pub address: SocketAddr,
}

async fn start_dns(
    options: &Options,
    edges: &[verge_edge::run::Running],
    folder: &Path,
) -> Result<verge_dns::serve::Running, StartError> {
    let ports: Vec<u16> = edges.iter().map(|edge| edge.listening().public[0].port()).collect();
    let text = dns_config(options, &ports);
    let config = verge_dns::config::parse(&text, folder, Path::new("the demo's dns.toml"))
        .map_err(boxed("verge-dns"))?;
    verge_dns::serve::start(config).await.map_err(boxed("verge-dns"))
}

async fn start_edge(
    options: &Options,
    edge: Edge,
    also: &[SocketAddr],
    origin: &Origin,
    folder: &Path,
) -> Result<verge_edge::run::Running, StartError> {
    let text = edge_config(options, edge, also, origin.address());
    let folder = folder.join(edge.name);
    std::fs::create_dir(&folder).map_err(StartError::Folder)?;
    let config = verge_edge::config::parse(&text, &folder, Path::new("the demo's edge.toml"))
        .map_err(boxed(edge.name))?;
    verge_edge::run::start(config).await.map_err(boxed(edge.name))
}

fn dns_config(options: &Options, edges: &[u16]) -> String {
    // JSON's strings are TOML's basic strings.
    let zones = serde_json::Value::from(options.zones.to_string_lossy().into_owned());
    format!(
        r#"zones = {zones}
listen = ["{outside}"]
[internal]
listen = ["{inside}"]
clients = ["127.0.0.0/8", "::1/128"]
[admin]
listen = "{admin}"
[steer]
check = "http://{{address}}:{first}/.well-known/verge/health"
interval = "1s"
[[steer.pool]]
name = "www.example.com"
members = [{{ address = "{SECOND_ADDRESS}", check_address = "{address}", check = "http://{{address}}:{second}/.well-known/verge/health" }}]
"#,
        first = edges[0],
        second = edges[1],
        address = options.address,
        outside = options.at(options.dns_port),
        inside = options.at(options.dns_inside_port),
        admin = options.at(options.dns_admin_port),
    )
}

fn edge_config(options: &Options, edge: Edge, also: &[SocketAddr], origin: SocketAddr) -> String {
    let public = [&[options.at((edge.port)(options))], also].concat();
    let public: Vec<String> = public.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        r#"name = "{name}"
listen = [{public}]
[cache]
memory = "64MiB"
[[site]]
hosts = ["*"]
origins = ["http://{origin}"]
[admin]
listen = "{admin}"
"#,
        name = edge.name,
        public = public.join(", "),
        admin = options.at((edge.admin_port)(options)),
    )
}

/// The differences between the two edges.
#[derive(Clone, Copy)]
struct Edge {
    name: &'static str,
    port: fn(&Options) -> u16,
    admin_port: fn(&Options) -> u16,
}

const FIRST_EDGE: Edge = Edge { name: "edge-1", port: |o| o.edge_port, admin_port: |o| o.edge_admin_port };
const SECOND_EDGE: Edge =
    Edge { name: "edge-2", port: |o| o.second_edge_port, admin_port: |o| o.second_edge_admin_port };

impl Options {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.unwrap_or(port))
    }

    /// Every port with the flag that sets it.
    fn wanted(&self) -> [Wanted; 8] {
        let tcp = |port, flag| Wanted { address: self.at(port), flag, udp: false };
        let dns = |port, flag| Wanted { udp: true, ..tcp(port, flag) };
        [
            dns(self.dns_port, "--dns-port"),
            dns(self.dns_inside_port, "--dns-inside-port"),
            tcp(self.dns_admin_port, "--dns-admin-port"),
            tcp(self.edge_port, "--edge-port"),
            tcp(self.edge_admin_port, "--edge-admin-port"),
            tcp(self.second_edge_port, "--second-edge-port"),
            tcp(self.second_edge_admin_port, "--second-edge-admin-port"),
            tcp(self.origin_port, "--origin-port"),
        ]
    }
}

/// A port that must be free. It is looked at before anything starts, because only here the flag's name is known.
struct Wanted {
    address: SocketAddr,
    flag: &'static str,
    udp: bool,
}

impl Wanted {
    fn check(&self) -> Result<(), StartError> {
        let tcp = TcpListener::bind(self.address).map(drop);
        let both = tcp.and_then(|()| if self.udp { UdpSocket::bind(self.address).map(drop) } else { Ok(()) });
        both.map_err(|source| StartError::Port { address: self.address, flag: self.flag, source })
    }
}

/// Why the stack did not start.
#[derive(Debug)]
pub enum StartError {
    /// A port cannot be taken.
    Port {
        /// Where.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// There is no such folder of zones.
    NoZones {
        /// The folder that was asked for.
        folder: PathBuf,
    },
    /// No folder for temporary files can be made.
    Folder(io::Error),
    /// The origin cannot listen.
    Origin {
        /// Where.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A unit refused to start.
    Unit {
        /// Which one.
        name: &'static str,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn boxed<E: std::error::Error + Send + Sync + 'static>(name: &'static str) -> impl FnOnce(E) -> StartError {
    move |source| StartError::Unit { name, source: Box::new(source) }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { address, flag, source } if source.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "port {} on {} is in use by another program; choose another with {flag}, or let the system choose \
                 them all with --ports 0",
                address.port(),
                address.ip()
            ),
            Self::Port { address, flag, source } => {
                write!(f, "cannot listen on {address}: {source}; choose another port with {flag}")
            }
            Self::NoZones { folder } => {
                write!(
                    f,
                    "there is no folder {}; name one that holds *.zone files with --zones",
                    folder.display()
                )
            }
            Self::Folder(source) => write!(f, "cannot make a temporary folder: {source}"),
            Self::Origin { address, source } => {
                write!(
                    f,
                    "the origin cannot listen on {address}: {source}; choose another port with --origin-port"
                )
            }
            Self::Unit { name, source } => write!(f, "{name} did not start: {source}"),
        }
    }
}

impl std::error::Error for StartError {}
