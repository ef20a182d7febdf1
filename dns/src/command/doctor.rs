//! `doctor`: looks whether this machine suits a config, and says what to change, with the command.

mod clock;
mod delegation;
mod descriptors;
mod firewall;
mod path;
mod running;

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use procfs::process::{LimitValue, Process};

use self::clock::Clock;
use self::delegation::{Looked, Way};
use self::firewall::Rules;
use self::running::Running;
use super::asked::ask;
use super::{Failure, Source, say, zones};
use crate::config::{AdminAddress, Config};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Do not ask the parents of public zones how they delegate them
    #[arg(long)]
    offline: bool,
    /// The resolver that finds the parents [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS", value_parser = delegation::addressed, conflicts_with = "offline")]
    resolver: Option<SocketAddr>,
    /// A server that is asked in the place of the parents, such as one that is to become one
    #[arg(long, value_name = "ADDRESS", value_parser = delegation::addressed, conflicts_with_all = ["offline", "resolver"])]
    parent: Option<SocketAddr>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let wanted = wanted(&config);
    let asked = config.admin.as_ref().map(|admin| ask(admin, "GET", "/healthz"));
    let running = asked.map_or(Running::No, |answer| match answer {
        Ok(_) => Running::Yes,
        Err(error) => Running::of_failure(&error),
    });
    let mut machine = look(&wanted, running);
    machine.running_descriptors = config.admin.as_ref().and_then(descriptors::of_running);
    let (mut advice, mut notes) = (advice(&wanted, &machine), notes(&machine));
    let Looked { advice: more, notes: unclear } = delegations(&config, args)?;
    advice.extend(more);
    notes.extend(unclear);
    say(&told(&advice, &notes));
    if advice.iter().any(|one| one.is_fault) { Err(Failure::Problems) } else { Ok(()) }
}

/// The look at the parents of public zones.
///
/// Invariant: a zone that no outsider can ask for is named to nobody. Without a listener outside, the view of outsiders has zones
/// all the same, and nobody sees it.
fn delegations(config: &Config, args: &Args) -> Result<Looked, Failure> {
    if args.offline {
        return Ok(Looked::default());
    }
    if !config.has_outside() {
        return Ok(Looked { notes: vec![NOTHING_OUTSIDE.to_owned()], ..Looked::default() });
    }
    let zones = zones::load(&[], &args.source)?;
    let way = Way { resolver: args.resolver, parent: args.parent };
    let looked = zones.loaded.world.map(|world| delegation::looked(&delegation::owns(&world.public), &way));
    Ok(looked.unwrap_or_default())
}

const NOTHING_OUTSIDE: &str =
    "the parents were not asked: the config has no listener outside, so that all of its zones may be private";

fn wanted(config: &Config) -> Wanted {
    let mut listen = Vec::new();
    let (mut tables, mut memory_bytes) = (0, PROGRAM_BYTES);
    for (plain, encrypted) in
        [(&config.listen, &config.encrypted), (&config.internal.listen, &config.internal.encrypted)]
    {
        let tcp = [plain, &encrypted.tls, &encrypted.https];
        tables += tcp.iter().filter(|all| !all.is_empty()).count() as u64;
        let carried = [plain, &encrypted.tls, &encrypted.https, &encrypted.quic];
        memory_bytes += carried
            .iter()
            .zip(CONNECTION_BYTES)
            .filter(|(all, _)| !all.is_empty())
            .map(|(_, bytes)| {
                config.tcp.max_connections as u64 * bytes + config.tcp.max_buffered_bytes as u64
            })
            .sum::<u64>();
        listen.extend(tcp.into_iter().flatten().map(|it| (Carrier::Tcp, *it)));
        listen.extend([plain, &encrypted.quic].into_iter().flatten().map(|it| (Carrier::Udp, *it)));
    }
    listen.extend(config.quorum.iter().map(|quorum| (Carrier::Tcp, quorum.listen)));
    let mut socket = None;
    match config.admin.as_ref().map(|admin| &admin.listen) {
        Some(AdminAddress::Tcp(address)) => listen.push((Carrier::Tcp, *address)),
        Some(AdminAddress::Unix(path)) => socket = Some(path.clone()),
        None => {}
    }
    let keys = config.keys.iter().map(|key| key.secret_file.clone());
    let own = config.admin.iter().filter_map(|admin| admin.tls.as_ref());
    let tls = config.tls.iter().chain(own).map(|tls| tls.key.clone());
    let token = config.admin.iter().map(|admin| admin.token_file.clone());
    let node = config.quorum.iter().map(|quorum| quorum.identity.key.clone());
    let receive_bytes = config.udp.receive_buffer_bytes.map_or(UDP_RECEIVE_BYTES, |bytes| bytes as u64);
    Wanted {
        descriptors: tables * config.tcp.max_connections as u64 + SPARE_DESCRIPTORS,
        receive_bytes: Some(receive_bytes),
        memory_bytes,
        listen,
        socket,
        secrets: keys.chain(tls).chain(token).chain(node).collect(),
    }
}

/// Listeners, zone files, the log, and 2,048 checks of members of pools.
const SPARE_DESCRIPTORS: u64 = 256 + 2048;
/// The server's own default.
const UDP_RECEIVE_BYTES: u64 = 4 << 20;
const PROGRAM_BYTES: u64 = 12 << 20;
/// One connection by TCP, TLS, HTTPS and QUIC, as reference.toml says.
const CONNECTION_BYTES: [u64; 4] = [3 << 10, 16 << 10, 34 << 10, 40 << 10];

/// The demands of a config.
#[derive(Debug, Clone, Default)]
struct Wanted {
    listen: Vec<(Carrier, SocketAddr)>,
    /// The operator's, in the file system.
    socket: Option<PathBuf>,
    descriptors: u64,
    /// Of the kernel's largest buffer for packets that arrive; none: no listener is by UDP.
    receive_bytes: Option<u64>,
    memory_bytes: u64,
    /// Files that nobody else may read.
    secrets: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tcp,
    Udp,
}

impl Carrier {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// The machine; none: it does not say.
#[derive(Debug, Clone, Default)]
struct Machine {
    /// As many as a process of this user may ask for.
    descriptors: Option<u64>,
    /// As many as the server may have that runs, as its metrics tell.
    running_descriptors: Option<u64>,
    memory_bytes: Option<u64>,
    receive_bytes: Option<u64>,
    backlog: Option<u64>,
    has_ipv6: bool,
    /// Addresses that cannot be listened on, and why.
    refused: Vec<(SocketAddr, ErrorKind)>,
    refused_path: Option<path::Refused>,
    /// Of the secrets.
    readable_by_others: Vec<PathBuf>,
    running: Running,
    clock: Clock,
    firewall: Rules,
}

#[derive(Debug, PartialEq, Eq)]
struct Advice {
    is_fault: bool,
    what: String,
    cure: String,
}

/// A kernel's queue of connections that are not accepted yet; fewer lose clients when many come at once.
const BACKLOG: u64 = 1024;

fn advice(wanted: &Wanted, machine: &Machine) -> Vec<Advice> {
    let mut all: Vec<Advice> = machine.refused.iter().map(|(address, why)| refused(*address, *why)).collect();
    all.extend(machine.refused_path.as_ref().map(path::advice));
    let mut warn = |what: String, cure: String| all.push(Advice { is_fault: false, what, cure });
    if let Some(most) =
        machine.running_descriptors.or(machine.descriptors).filter(|most| *most < wanted.descriptors)
    {
        let needed = wanted.descriptors;
        let whose = match machine.running_descriptors {
            Some(_) => "the server that runs",
            None => "a process that is started from here",
        };
        warn(
            format!("{whose} may have {most} open files, and the config may need {needed}"),
            format!("LimitNOFILE={needed} in the unit, or `ulimit -Hn {needed}` as root before the start"),
        );
    }
    if let Some(most) = machine.memory_bytes.filter(|most| *most < wanted.memory_bytes) {
        warn(
            format!(
                "the config may take {} of memory, and there are {}",
                mib(wanted.memory_bytes),
                mib(most)
            ),
            "lower `tcp.max_buffered` or `tcp.max_connections`".to_owned(),
        );
    }
    if let (Some(wanted), Some(most)) = (wanted.receive_bytes, machine.receive_bytes)
        && most < wanted
    {
        warn(
            format!(
                "a socket may keep {most} bytes of packets that arrive, and {wanted} lose fewer under load"
            ),
            format!("sysctl -w net.core.rmem_max={wanted} (and in /etc/sysctl.d, for the next start)"),
        );
    }
    if let Some(most) = machine.backlog.filter(|most| *most < BACKLOG) {
        warn(
            format!("only {most} connections may wait to be accepted"),
            format!("sysctl -w net.core.somaxconn={BACKLOG}"),
        );
    }
    // The operator's own listener says nothing of what clients reach.
    let mut open = wanted.listen.iter().map(|(_, it)| it.ip()).filter(|it| !it.is_loopback()).peekable();
    if machine.has_ipv6 && open.peek().is_some() && open.all(|it| it.is_ipv4()) {
        warn(
            "this machine has IPv6 addresses, and the config listens on none".to_owned(),
            "add one to `listen`, such as \"[::]:53\"".to_owned(),
        );
    }
    for file in &machine.readable_by_others {
        warn(format!("{} can be read by others", file.display()), format!("chmod 600 {}", file.display()));
    }
    all.extend(clock::advice(machine.clock));
    all.extend(firewall::advice(&machine.firewall, &wanted.listen));
    all
}

/// The questions that have no answer here, and why.
fn notes(machine: &Machine) -> Vec<String> {
    let addresses = machine.running.note();
    let clock = (machine.clock == Clock::Unknown)
        .then(|| "cannot tell whether something keeps the clock right: the kernel does not say".to_owned());
    let firewall = machine.firewall.unread.as_ref();
    let firewall =
        firewall.map(|why| format!("cannot tell whether a firewall drops what clients send: {why}"));
    [addresses, clock, firewall].into_iter().flatten().collect()
}

fn refused(address: SocketAddr, why: ErrorKind) -> Advice {
    let (what, cure) = match why {
        ErrorKind::AddrInUse => ("is in use by another program", in_use(address)),
        ErrorKind::PermissionDenied => (
            "is not allowed for this user",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a port above 1023".to_owned(),
        ),
        ErrorKind::AddrNotAvailable => {
            ("is not an address of this machine", "ip -brief address shows those that are".to_owned())
        }
        _ => ("cannot be listened on", format!("the system says: {why}")),
    };
    Advice { is_fault: true, what: format!("{address} {what}"), cure }
}

fn in_use(address: SocketAddr) -> String {
    let who = format!("ss -lntup 'sport = :{}' shows which", address.port());
    match address.port() {
        53 => format!(
            "{who}; systemd-resolved: `DNSStubListener=no` in /etc/systemd/resolved.conf, or listen on the machine's own \
             address instead of all"
        ),
        _ => who,
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Looks, and changes nothing but for the moment in which an address is tried.
fn look(wanted: &Wanted, running: Running) -> Machine {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = Process::myself().and_then(|me| me.limits()).map(|limits| limits.max_open_files.hard_limit);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    });
    // A container's own group stands at the root of the hierarchy.
    let memory = memory.into_iter().chain(number("/sys/fs/cgroup/memory.max")).min();
    // Of a global scope, and not of loopback (proc(5)).
    let global = |line: &str| line.split_whitespace().nth(3) == Some("00") && !line.ends_with(" lo");
    let tried = |(carrier, address): &(Carrier, SocketAddr)| {
        let error = match carrier {
            Carrier::Tcp => TcpListener::bind(address).err(),
            Carrier::Udp => UdpSocket::bind(address).err(),
        };
        error.map(|error| (*address, error.kind()))
    };
    // A server that runs has them.
    let may_try = running == Running::No;
    let refused = if may_try { wanted.listen.iter().filter_map(tried).collect() } else { Vec::new() };
    let refused_path = wanted.socket.as_deref().filter(|_| may_try).and_then(path::look);
    let is_open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o007 != 0);
    Machine {
        descriptors: match limit {
            Ok(LimitValue::Value(most)) => Some(most),
            _ => None,
        },
        running_descriptors: None,
        memory_bytes: memory,
        receive_bytes: number("/proc/sys/net/core/rmem_max"),
        backlog: number("/proc/sys/net/core/somaxconn"),
        has_ipv6: fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.lines().any(global)),
        refused,
        refused_path,
        readable_by_others: wanted.secrets.iter().filter(is_open).cloned().collect(),
        running,
        clock: clock::look(),
        firewall: firewall::read(),
    }
}

/// The advice for people.
fn told(advice: &[Advice], notes: &[String]) -> String {
    let mut text = String::new();
    for Advice { is_fault, what, cure } in advice {
        let severity = if *is_fault { "error" } else { "warning" };
        text += &format!("{severity}: {what}\n  = help: {cure}\n");
    }
    for note in notes {
        text += &format!("{note}\n");
    }
    if advice.is_empty() {
        text += "this machine is ready for it\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &Wanted, machine: &Machine, expected: &[&str]) {
        let text = told(&advice(wanted, machine), &[]);
        let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("  = help")).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_a_machine_lacks_is_said() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let wanted = Wanted {
            socket: None,
            listen: vec![(Carrier::Tcp, address("0.0.0.0:53"))],
            descriptors: 5000,
            receive_bytes: Some(1 << 22),
            memory_bytes: 3 << 30,
            secrets: Vec::new(),
        };
        let good = Machine {
            descriptors: Some(5000),
            memory_bytes: Some(3 << 30),
            receive_bytes: Some(1 << 22),
            backlog: Some(4096),
            ..Machine::default()
        };
        let ready = "this machine is ready for it";
        check(&wanted, &good, &[ready]);
        check(&wanted, &Machine::default(), &[ready]);
        check(
            &Wanted { receive_bytes: None, ..wanted.clone() },
            &Machine { receive_bytes: Some(1), ..good.clone() },
            &[ready],
        );
        let few = "warning: a process that is started from here may have 1024 open files, and the config may need 5000";
        check(&wanted, &Machine { descriptors: Some(1024), ..good.clone() }, &[few]);
        let well = Machine { descriptors: Some(1024), running_descriptors: Some(5000), ..good.clone() };
        check(&wanted, &well, &[ready]);
        let few = "warning: the server that runs may have 4999 open files, and the config may need 5000";
        check(&wanted, &Machine { running_descriptors: Some(4999), ..good.clone() }, &[few]);
        let small = "warning: the config may take 3072 MiB of memory, and there are 1024 MiB";
        check(&wanted, &Machine { memory_bytes: Some(1 << 30), ..good.clone() }, &[small]);
        let lossy = "warning: a socket may keep 212992 bytes of packets that arrive, and 4194304 lose fewer under load";
        check(&wanted, &Machine { receive_bytes: Some(212_992), ..good.clone() }, &[lossy]);
        check(
            &wanted,
            &Machine { backlog: Some(128), ..good.clone() },
            &["warning: only 128 connections may wait to be accepted"],
        );
        let six = "warning: this machine has IPv6 addresses, and the config listens on none";
        check(&wanted, &Machine { has_ipv6: true, ..good.clone() }, &[six]);
        let own = (Carrier::Tcp, address("127.0.0.1:9300"));
        let with_admin = Wanted { listen: vec![wanted.listen[0], own], ..wanted.clone() };
        check(&with_admin, &Machine { has_ipv6: true, ..good.clone() }, &[six]);
        let inside = Wanted { listen: vec![own, (Carrier::Tcp, address("[::1]:53"))], ..wanted.clone() };
        check(&inside, &Machine { has_ipv6: true, ..good.clone() }, &[ready]);
        let both = Wanted {
            listen: vec![wanted.listen[0], own, (Carrier::Tcp, address("[::]:53"))],
            ..wanted.clone()
        };
        check(&both, &Machine { has_ipv6: true, ..good.clone() }, &[ready]);
        let open = Machine { readable_by_others: vec!["key.pem".into()], ..good.clone() };
        check(&wanted, &open, &["warning: key.pem can be read by others"]);
        for (why, expected) in [
            (ErrorKind::AddrInUse, "error: 0.0.0.0:53 is in use by another program"),
            (ErrorKind::PermissionDenied, "error: 0.0.0.0:53 is not allowed for this user"),
            (ErrorKind::AddrNotAvailable, "error: 0.0.0.0:53 is not an address of this machine"),
        ] {
            check(
                &wanted,
                &Machine { refused: vec![(wanted.listen[0].1, why)], ..good.clone() },
                &[expected],
            );
        }
    }

    /// reference.toml tells what a connection takes.
    #[test]
    fn every_transport_takes_memory_on_each_side_and_quic_no_file_for_a_connection() {
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        let inside = "[internal]\nlisten_quic = [\"10.0.0.1:4\"]\nclients = [\"10.0.0.0/8\"]\n";
        for (listen, rest, tables, mib) in [
            ("listen = [\"192.0.2.1:1\"]", "", 1, 12 + 32 + 12),
            ("listen_tls = [\"192.0.2.1:2\"]", tls, 1, 12 + 32 + 64),
            ("listen_https = [\"192.0.2.1:3\"]", tls, 1, 12 + 32 + 136),
            ("listen_quic = [\"192.0.2.1:4\"]", tls, 0, 12 + 32 + 160),
            ("listen_quic = [\"192.0.2.1:4\"]", &format!("{inside}{tls}"), 0, 12 + 2 * (32 + 160)),
        ] {
            let text = format!("zones = \"z\"\n{listen}\n{rest}");
            let config = crate::config::parse(&text, "/".as_ref(), "dns.toml".as_ref());
            let wanted = wanted(&config.unwrap_or_else(|error| panic!("{error}")));
            assert_eq!(wanted.descriptors, tables * 4096 + SPARE_DESCRIPTORS, "{listen}");
            assert_eq!(wanted.memory_bytes >> 20, mib, "{listen} {rest}");
        }
    }

    #[test]
    fn a_quorum_needs_its_address_and_a_key_that_nobody_else_reads() {
        let text = "zones = \"z\"\nlisten = [\"192.0.2.1:53\"]\n[steer.quorum]\nlisten = \"192.0.2.1:5300\"\n\
                    nodes = [\"192.0.2.1:5300#ns1.example\", \"192.0.2.2:5300#ns2.example\"]\n\
                    certificate = \"ns1.pem\"\nkey = \"ns1.key\"\nca = \"ca.pem\"\n";
        let config = crate::config::parse(text, "/".as_ref(), "dns.toml".as_ref());
        let wanted = wanted(&config.unwrap_or_else(|error| panic!("{error}")));
        assert!(wanted.listen.contains(&(Carrier::Tcp, "192.0.2.1:5300".parse().unwrap())), "{wanted:?}");
        assert_eq!(wanted.secrets, [PathBuf::from("/ns1.key")]);
    }

    #[test]
    fn an_address_that_is_taken_and_a_file_that_is_open_are_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let socket = tempfile::NamedTempFile::new().unwrap();
        let wanted = Wanted {
            listen: vec![(Carrier::Tcp, address)],
            socket: Some(socket.path().into()),
            secrets: vec![secret.path().into()],
            ..Wanted::default()
        };
        let machine = look(&wanted, Running::No);
        assert_eq!(machine.refused, [(address, ErrorKind::AddrInUse)]);
        assert_eq!(machine.refused_path, Some((socket.path().into(), ErrorKind::AlreadyExists)));
        assert_eq!(machine.readable_by_others, wanted.secrets);
        assert!(
            machine.descriptors.is_none_or(|most| most > 3)
                && machine.memory_bytes.is_some_and(|bytes| bytes > 1 << 20)
        );
        for running in [Running::Yes, Running::Unknown("permission denied".to_owned())] {
            let machine = look(&wanted, running);
            assert_eq!(
                (machine.refused, machine.refused_path),
                (Vec::new(), None),
                "they are its own, or may be"
            );
        }
    }
}
