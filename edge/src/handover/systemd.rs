//! systemd's side of a hand-over: sockets that it passes and keeps, and what it is told (sd_notify(3), sd_listen_fds(3)).
//!
//! A program that systemd did not start is told of nothing, and tells nobody.

use std::env;
use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as Address, UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::handed::{Handed, Listener, Setting, Transport};

/// Where systemd wants to be told.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The microseconds within which systemd wants to hear that the service lives, and the process that it is said to.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// As `WATCHDOG_USEC`. The start of the next process takes it out of the environment.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// Of these there is always another one: none is waited for until systemd has room for it.
const ALIVE: &str = "WATCHDOG=1";
/// How long systemd may take to do what it was told.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
/// The folder of this service below /run, which systemd has made.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// The sockets that systemd passes. A program asks once, before it starts others.
pub(crate) fn passed() -> Vec<Handed> {
    let mut passed = ListenFd::from_env();
    let mut handed = Vec::new();
    for place in 0..passed.len() {
        let tcp = passed.take_tcp_listener(place).ok().flatten();
        let tcp = tcp.and_then(|socket| Some((Transport::Tcp, socket.local_addr().ok()?, socket.into())));
        let udp = || {
            let socket = passed.take_udp_socket(place).ok().flatten()?;
            Some((Transport::Udp, socket.local_addr().ok()?, socket.into()))
        };
        let at = |(transport, address, socket)| (Listener::At(transport, address), socket);
        let socket = tcp.or_else(udp).map(at).or_else(|| {
            let socket = passed.take_unix_listener(place).ok().flatten()?;
            Some((Listener::Path { is_of_systemd: true }, socket.into()))
        });
        match socket {
            Some((listener, socket)) => handed.push(Handed { listener, socket, channels: Vec::new() }),
            None => tracing::warn!(
                target: "verge_edge::handover",
                "systemd has passed a descriptor that is neither a TCP, a UDP nor a Unix socket that listens"
            ),
        }
    }
    handed
}

/// The run folder that systemd has made for this service.
#[must_use]
pub fn run_folder() -> Option<PathBuf> {
    let folders = env::var_os(RUNTIME_DIRECTORY)?;
    let folders = folders.to_str()?;
    folders.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
}

/// This process answers, or answers again after a reload.
pub fn ready() {
    tell(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// The config is read again until [`ready`] is told.
pub fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// This process is about to end, and no other has taken over.
pub fn stopping() {
    tell("STOPPING=1");
}

/// How often systemd is to be told that this process is [`alive`]: twice in the time after which it ends a silent one.
#[must_use]
pub fn pulse() -> Option<Duration> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_default());
    pulse_of(number(WATCHDOG_USEC)?, number(WATCHDOG_PID), std::process::id())
}

/// As sd_watchdog_enabled(3) has it: for one process, or for whoever has the variable.
fn pulse_of(micros: u64, pid: Option<u64>, own: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid == u64::from(own));
    (is_meant && micros > 0).then(|| Duration::from_micros(micros.div_ceil(2)))
}

/// The threads of this process that answer do so.
pub fn alive() {
    tell(ALIVE);
}

/// Another process is the service now.
pub(crate) fn main_pid(pid: u32) {
    tell(&format!("MAINPID={pid}"));
}

/// systemd keeps a copy of the socket, and passes it to the next process however this one ends.
pub(crate) fn keep(setting: Setting, address: SocketAddr, socket: BorrowedFd<'_>) {
    // Without FDPOLL=0 a socket with an error would be dropped (systemd 246).
    send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name(setting, address)), &[socket]);
}

/// systemd is to keep it no longer.
pub(crate) fn forget(setting: Setting, address: SocketAddr) {
    tell(&format!("FDSTOREREMOVE=1\nFDNAME={}", name(setting, address)));
}

/// systemd is to keep no socket of this address that is for another setting. Before [`keep`]: it takes no socket that it has
/// already, and would leave that one its old name.
pub(crate) fn forget_others(setting: Setting, address: SocketAddr) {
    let others = Setting::ALL.into_iter().filter(|other| *other != setting);
    for other in others.filter(|other| other.transport() == setting.transport()) {
        forget(other, address);
    }
}

/// systemd is to keep no socket of this address, whatever it was for.
pub(crate) fn forget_all(transport: Transport, address: SocketAddr) {
    for setting in Setting::ALL.into_iter().filter(|setting| setting.transport() == transport) {
        forget(setting, address);
    }
}

/// Waits until systemd has done what it was told, for a second at most (sd_notify_barrier(3)).
pub(crate) fn settle() {
    let Ok((own, passed)) = UnixStream::pair() else { return };
    send("BARRIER=1", &[passed.as_fd()]);
    drop(passed);
    if own.set_read_timeout(Some(SETTLE_LIMIT)).is_ok() {
        // The other end is closed then, or systemd is older than barriers.
        let _ = (&own).read(&mut [0]);
    }
}

/// ASCII without a colon.
fn name(setting: Setting, address: SocketAddr) -> String {
    format!("{}-{address}", setting.as_str()).replace(':', "_")
}

fn tell(text: &str) {
    send(text, &[]);
}

fn send(text: &str, descriptors: &[BorrowedFd<'_>]) {
    let Some(to) = env::var_os(NOTIFY_SOCKET).filter(|to| !to.is_empty()) else { return };
    if let Err(error) = try_send(&to, text, descriptors) {
        tracing::warn!(target: "verge_edge::handover", "systemd cannot be told {text:?}: {error}");
    }
}

fn try_send(to: &std::ffi::OsStr, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let address = match to.as_bytes().strip_prefix(b"@") {
        Some(name) => Address::from_abstract_name(name)?,
        None => Address::from_pathname(to)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let flags = if text == ALIVE { SendFlags::DONTWAIT } else { SendFlags::empty() };
    sendmsg(socket.as_fd(), &[IoSlice::new(text.as_bytes())], &mut beside, flags | SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_store_of_descriptors_has_no_colon() {
        let check = |setting, address: &str, expected| {
            assert_eq!(name(setting, address.parse().unwrap()), expected);
        };
        check(Setting::Plain, "192.0.2.1:80", "listen-192.0.2.1_80");
        check(Setting::Quic, "[::]:443", "listen_quic-[__]_443");
    }

    #[test]
    fn systemd_is_told_twice_in_its_time_and_only_by_the_process_that_it_means() {
        let check = |micros, pid, expected: Option<u64>| {
            assert_eq!(pulse_of(micros, pid, 7), expected.map(Duration::from_micros), "{micros} {pid:?}");
        };
        check(60_000_000, Some(7), Some(30_000_000));
        check(60_000_000, None, Some(30_000_000));
        check(60_000_000, Some(8), None);
        check(0, None, None);
        check(1, None, Some(1));
        check(u64::MAX, None, Some(1 << 63));
    }

    #[test]
    fn it_is_told_over_a_socket_with_a_path_and_over_one_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let check = |address: &Address, to: &str| {
            let socket = UnixDatagram::bind_addr(address).unwrap();
            try_send(to.as_ref(), "READY=1", &[socket.as_fd()]).unwrap();
            let mut told = [0; 64];
            let length = socket.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"READY=1");
        };
        check(&Address::from_pathname(&path).unwrap(), path.to_str().unwrap());
        let name = path.to_str().unwrap();
        check(&Address::from_abstract_name(name).unwrap(), &format!("@{name}"));
        assert!(try_send("/nonexistent/notify".as_ref(), "READY=1", &[]).is_err());
    }
}
