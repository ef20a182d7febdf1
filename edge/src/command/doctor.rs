//! `verge-edge doctor`: looks whether this machine suits a config, and says what to change, with the command.

mod clock;
mod descriptors;
mod firewall;
mod path;
mod running;

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use procfs::process::{LimitValue, Process};
use verge_edge::config::{self, AdminAddress, Config};
use verge_edge::run;

use self::clock::Clock;
use self::firewall::Rules;
use self::running::Running;
use super::desk::Desk;
use super::{Failed, health, say};

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
}

impl Doctor {
    pub(super) async fn run(&self) -> Result<(), Failed> {
        let config = config::load(&self.config).map_err(Failed::of_config)?;
        let wanted = wanted(&config);
        let running = match &config.admin {
            Some(admin) => running(admin).await,
            None => Running::No,
        };
        let mut machine = look(&wanted, running);
        machine.running_descriptors = match &config.admin {
            Some(admin) if machine.running == Running::Yes => descriptors::of_running(admin).await,
            _ => None,
        };
        let advice = advice(&wanted, &machine);
        say(told(&advice, &notes(&machine)).trim_end());
        for standing in run::inspect(&config).map_err(Failed::of_start)? {
            say(standing);
        }
        match advice.iter().filter(|one| one.is_fault).count() {
            0 => Ok(()),
            1 => Err(Failed::because("1 error")),
            faults => Err(Failed::because(format!("{faults} errors"))),
        }
    }
}

async fn running(admin: &config::Admin) -> Running {
    // Another user's certificate may be closed to this one.
    if let Some(Err(error)) = admin.tls.as_ref().map(|files| fs::File::open(&files.certificate)) {
        return Running::of_failure(&error);
    }
    let Ok(desk) = Desk::of(admin, None) else { return Running::No };
    match health::ask(&desk, "/healthz").await {
        Ok((true, _)) => Running::Yes,
        Ok((false, _)) => Running::No,
        Err(error) => Running::of_failure(&error),
    }
}

fn wanted(config: &Config) -> Wanted {
    let tcp = |all: &[SocketAddr]| all.iter().map(|it| (Carrier::Tcp, *it)).collect::<Vec<_>>();
    let mut listen = tcp(&config.listen);
    let mut secrets: Vec<PathBuf> = config.admin.iter().map(|admin| admin.token_file.clone()).collect();
    if let Some(tls) = &config.tls {
        listen.extend(tcp(&tls.listen));
        listen.extend(tls.quic.iter().map(|it| (Carrier::Udp, *it)));
        secrets.extend(tls.certificates.iter().map(|files| files.key.clone()));
        secrets.extend(tls.ticket_secret.clone());
    }
    let mut socket = None;
    if let Some(admin) = &config.admin {
        secrets.extend(admin.tls.iter().map(|files| files.key.clone()));
        match &admin.listen {
            AdminAddress::Tcp(address) => listen.push((Carrier::Tcp, *address)),
            AdminAddress::Unix(path) => socket = Some(path.clone()),
        }
    }
    // Streams may share an address.
    let mut of_streams: Vec<SocketAddr> = Vec::new();
    for address in config.streams.iter().flat_map(|stream| &stream.listen) {
        if address.port() == 0 || !of_streams.contains(address) {
            of_streams.push(*address);
        }
    }
    listen.extend(tcp(&of_streams));
    let connections = config.limits.connections as u64;
    let of_streams =
        config.streams.iter().map(|stream| stream.relay.most as u64).fold(0, u64::saturating_add);
    Wanted {
        descriptors: (2 * connections + SPARE_DESCRIPTORS)
            .saturating_add(of_streams.saturating_mul(STREAM_DESCRIPTORS)),
        receive_bytes: listen
            .iter()
            .any(|(carrier, _)| *carrier == Carrier::Udp)
            .then_some(QUIC_RECEIVE_BYTES),
        memory_bytes: config.cache.bounds.memory_bytes + connections * IDLE_BYTES + PROGRAM_BYTES,
        listen,
        socket,
        secrets,
    }
}

/// Each connection may ask an origin; the rest is for listeners, disks and the log.
const SPARE_DESCRIPTORS: u64 = 1024;
/// A connection of a stream and that to its origin, and a pipe for each direction that the kernel moves.
const STREAM_DESCRIPTORS: u64 = 6;
/// The size that QUIC's implementations ask for.
const QUIC_RECEIVE_BYTES: u64 = 7_500_000;
/// Measured: `[cache]` of reference.toml has this, and what a connection takes at worst.
const IDLE_BYTES: u64 = 26 << 10;
const PROGRAM_BYTES: u64 = 64 << 20;

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
            "lower `cache.memory` or `limits.connections`".to_owned(),
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
            "add one to `listen`, such as \"[::]:80\"".to_owned(),
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
        ErrorKind::AddrInUse => (
            "is in use by another program",
            format!(
                "ss -lntup 'sport = :{}' shows which; another port in `listen`, or end it",
                address.port()
            ),
        ),
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
    let of = |carrier| {
        let all = wanted.listen.iter().filter(|(other, _)| *other == carrier);
        all.map(|(_, address)| *address).collect::<Vec<_>>()
    };
    // A server that runs has them.
    let may_try = running == Running::No;
    let refused = if !may_try { Vec::new() } else { run::trial(&of(Carrier::Tcp), &of(Carrier::Udp)) };
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
    use std::net::TcpListener;

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
            listen: vec![(Carrier::Tcp, address("0.0.0.0:80"))],
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
        let inside = Wanted { listen: vec![own, (Carrier::Tcp, address("[::1]:80"))], ..wanted.clone() };
        check(&inside, &Machine { has_ipv6: true, ..good.clone() }, &[ready]);
        let both = Wanted {
            listen: vec![wanted.listen[0], own, (Carrier::Tcp, address("[::]:80"))],
            ..wanted.clone()
        };
        check(&both, &Machine { has_ipv6: true, ..good.clone() }, &[ready]);
        let open = Machine { readable_by_others: vec!["key.pem".into()], ..good.clone() };
        check(&wanted, &open, &["warning: key.pem can be read by others"]);
        for (why, expected) in [
            (ErrorKind::AddrInUse, "error: 0.0.0.0:80 is in use by another program"),
            (ErrorKind::PermissionDenied, "error: 0.0.0.0:80 is not allowed for this user"),
            (ErrorKind::AddrNotAvailable, "error: 0.0.0.0:80 is not an address of this machine"),
        ] {
            check(
                &wanted,
                &Machine { refused: vec![(wanted.listen[0].1, why)], ..good.clone() },
                &[expected],
            );
        }
    }

    #[test]
    fn streams_want_their_addresses_and_six_descriptors_for_a_connection() {
        let text = "listen = [\"127.0.0.1:1\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:2\"]\n\
                    [[stream]]\nlisten = [\"127.0.0.1:3\"]\nsni = [\"a.test\"]\norigins = [\"tcp://127.0.0.1:4\"]\n\
                    connections = 100\n[[stream]]\nlisten = [\"127.0.0.1:3\", \"127.0.0.1:5\"]\n\
                    origins = [\"tcp://127.0.0.1:4\"]\nconnections = 10\n";
        let config =
            config::parse(text, std::path::Path::new("."), std::path::Path::new("edge.toml")).unwrap();
        let wanted = wanted(&config);
        let ports: Vec<u16> = wanted.listen.iter().map(|(_, address)| address.port()).collect();
        assert_eq!(ports, [1, 3, 5]);
        assert_eq!(wanted.descriptors, 2 * 10_000 + 1024 + 6 * 110);
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
