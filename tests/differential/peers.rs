//! The name servers under comparison, each in its own folder, on ports that the kernel chose.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::ask;
use crate::generate::{Question, Zone};

/// A running server; it ends with this value.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a server may take to load its zones.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes the zones and starts NSD, Knot, BIND and, if named, verge-dns; returns when all answer.
pub(crate) fn start(
    folder: &Path,
    zones: &[Zone],
    ours: Option<&Path>,
    nsec3: bool,
) -> Result<Vec<Server>, String> {
    let zone_folder = folder.join("zones");
    make_folder(&zone_folder)?;
    for zone in zones {
        write(&zone_folder.join(format!("{}zone", zone.apex)), &zone.text())?;
    }
    if nsec3 {
        let mut signed = 0;
        for (index, zone) in zones.iter().enumerate() {
            signed += usize::from(sign(&folder.join("keys"), &zone_folder, zone, index)?);
        }
        println!("{signed} of {} zones are signed", zones.len());
        if signed * 2 < zones.len() {
            return Err("dnssec-signzone takes less than half of the zones".to_owned());
        }
    }
    let mut servers = vec![
        nsd(&folder.join("nsd"), &zone_folder, zones)?,
        knot(&folder.join("knot"), &zone_folder, zones)?,
        bind(&folder.join("bind"), &zone_folder, zones)?,
    ];
    if let Some(program) = ours {
        servers.push(verge(&folder.join("verge"), &zone_folder, zones, program)?);
    }
    for server in &mut servers {
        wait_until_loaded(server, zones)?;
    }
    Ok(servers)
}

/// Signs a zone with NSEC3, in its place: with salt and iterations or without, every third one with opt-out. A zone that
/// the signer refuses, as for a DS without NS, stays as it is; whether it was signed.
fn sign(keys: &Path, zone_folder: &Path, zone: &Zone, index: usize) -> Result<bool, String> {
    make_folder(keys)?;
    let apex = zone.apex.as_str();
    let file = zone_folder.join(format!("{apex}zone"));
    let signed = keys.join(format!("{index}.signed"));
    let (salt, iterations) = if index.is_multiple_of(2) { ("-", "0") } else { ("aabbccdd", "7") };
    let mut keygen = Command::new("dnssec-keygen");
    keygen.args(["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K"]).arg(keys).arg(apex);
    finish(&mut keygen)?;
    let mut signzone = Command::new("dnssec-signzone");
    signzone.current_dir(keys).args(["-q", "-S", "-z", "-P", "-3", salt, "-H", iterations, "-o", apex]);
    signzone.arg("-K").arg(keys).arg("-f").arg(&signed);
    if index.is_multiple_of(3) {
        signzone.arg("-A");
    }
    let output = signzone.arg(&file).output().map_err(|error| format!("dnssec-signzone: {error}"))?;
    if !output.status.success() {
        return Ok(false);
    }
    std::fs::rename(&signed, &file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(true)
}

/// Runs a command to its end; an error has what it said.
fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn nsd(folder: &Path, zone_folder: &Path, zones: &[Zone]) -> Result<Server, String> {
    make_folder(folder)?;
    let address = free_address()?;
    let at = folder.display();
    let mut config = format!(
        "server:\n  ip-address: {}@{}\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{}\"\n  database: \"\"\n  \
         zonelistfile: \"{at}/zones\"\n  xfrdfile: \"{at}/xfrd\"\n  pidfile: \"{at}/pid\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n",
        address.ip(),
        address.port(),
        zone_folder.display()
    );
    for zone in zones {
        let _ = write!(config, "zone:\n  name: {0}\n  zonefile: \"{0}zone\"\n", zone.apex);
    }
    let file = folder.join("nsd.conf");
    write(&file, &config)?;
    spawn("nsd", address, folder, Command::new("nsd").arg("-d").arg("-c").arg(file))
}

fn knot(folder: &Path, zone_folder: &Path, zones: &[Zone]) -> Result<Server, String> {
    make_folder(folder)?;
    let address = free_address()?;
    let at = folder.display();
    let mut config = format!(
        "server:\n  listen: {}@{}\n  rundir: \"{at}\"\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{at}\"\nlog:\n  - target: stderr\n    any: warning\nzone:\n",
        address.ip(),
        address.port()
    );
    for zone in zones {
        let _ = write!(
            config,
            "  - domain: {0}\n    file: \"{1}/{0}zone\"\n    zonefile-sync: -1\n    journal-content: none\n",
            zone.apex,
            zone_folder.display()
        );
    }
    let file = folder.join("knot.conf");
    write(&file, &config)?;
    spawn("knot", address, folder, Command::new("knotd").arg("-c").arg(file))
}

fn bind(folder: &Path, zone_folder: &Path, zones: &[Zone]) -> Result<Server, String> {
    make_folder(folder)?;
    let address = free_address()?;
    let mut config = format!(
        "options {{ directory \"{}\"; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; recursion no; \
         pid-file none; session-keyfile none; notify no; dnssec-validation no; check-integrity no; check-wildcard no; \
         check-sibling no; check-mx ignore; check-mx-cname ignore; check-srv-cname ignore; \
         check-names primary ignore; minimal-responses yes; \
         zero-no-soa-ttl no; }};\ncontrols {{ }};\n",
        folder.display(),
        address.port(),
        address.ip()
    );
    for zone in zones {
        let _ = writeln!(
            config,
            "zone \"{0}\" {{ type primary; file \"{1}/{0}zone\"; }};",
            zone.apex,
            zone_folder.display()
        );
    }
    let file = folder.join("named.conf");
    write(&file, &config)?;
    spawn("bind", address, folder, Command::new("named").args(["-g", "-n", "1", "-c"]).arg(file))
}

/// The zones are published as a whole: the others hide no record whose target has no public address, either.
fn verge(folder: &Path, zone_folder: &Path, zones: &[Zone], program: &Path) -> Result<Server, String> {
    make_folder(folder)?;
    // A name covers what is below it. Some zones lie below a `*`, which the setting takes for a pattern and refuses.
    let apexes = zones.iter().map(|zone| zone.apex.to_string()).filter(|apex| !apex.contains('*'));
    let apexes: Vec<_> = apexes.collect();
    let address = free_address()?;
    let file = folder.join("dns.toml");
    write(
        &file,
        &format!(
            "zones = {zone_folder:?}\nlisten = [\"{address}\"]\n[public]\nzones = {apexes:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        ),
    )?;
    spawn("verge", address, folder, Command::new(program).args(["serve", "--config"]).arg(file))
}

fn spawn(
    name: &'static str,
    address: SocketAddr,
    folder: &Path,
    command: &mut Command,
) -> Result<Server, String> {
    let log = std::fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
    let copy = log.try_clone().map_err(|error| error.to_string())?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    Ok(Server { name, address, child })
}

impl Server {
    /// Whether its word counts. BIND refuses a zone with a delegation at a wildcard; NSD takes a parent's data below a
    /// cut for that of the zone below, too.
    pub(crate) fn understands(&self, zone: &Zone) -> bool {
        match self.name {
            "bind" => !zone.has_wildcard_cut(),
            "nsd" => zone.is_on_its_own(),
            _ => true,
        }
    }
}

/// A server is ready when every zone that it understands answers for its SOA.
fn wait_until_loaded(server: &mut Server, zones: &[Zone]) -> Result<(), String> {
    let probes: Vec<Question> = zones
        .iter()
        .enumerate()
        .filter(|(_, zone)| server.understands(zone))
        .map(|(index, zone)| Question::plain(index, &zone.apex, 6))
        .collect();
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("{} ended with {status}; see its log", server.name));
        }
        let first = ask::all(server.address, &probes[..1]);
        if first.is_ok_and(|answers| answers[0].rcode == 0) {
            let answers = ask::all(server.address, &probes)?;
            let unloaded = answers.iter().position(|said| said.answer.is_empty());
            match unloaded {
                None => return Ok(()),
                Some(index) if Instant::now() > give_up => {
                    return Err(format!("{} did not load {}", server.name, probes[index].name));
                }
                Some(_) => {}
            }
        } else if Instant::now() > give_up {
            return Err(format!("{} does not answer", server.name));
        }
    }
}

/// A port that is free for UDP and TCP now, from below those that the kernel gives to clients, who could take it before
/// the server does.
fn free_address() -> Result<SocketAddr, String> {
    let mut random = rand::rng();
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], random.random_range(20_000..30_000)));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port".to_owned())
}

fn make_folder(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
