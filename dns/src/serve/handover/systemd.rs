//! Sockets that systemd keeps for the next process, however this one ends, and those that it passes: the kept ones, and those of
//! socket units (sd_notify(3), sd_listen_fds(3)).
//!
//! A program that systemd did not start is passed nothing, and has nothing kept.

use std::env;
use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr as Address, UnixDatagram, UnixStream};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::line::MAX_DESCRIPTORS;
use crate::client::Transport;

/// Where systemd wants to be told.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Of these there is always another one: none is waited for until systemd has room for it.
const ALIVE: &str = "WATCHDOG=1";
/// How long systemd may take to do what it was told.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
/// The microseconds within which systemd wants to hear that the service lives, and the process that it is said to.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// As [`WATCHDOG_USEC`]. The start of the next process takes it out of the environment.
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The sockets that systemd passes.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
}

impl Passed {
    /// A program asks once, before it starts threads: this changes its environment.
    pub(crate) fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let mut all = Self::default();
        for place in 0..passed.len() {
            match passed.take_udp_socket(place) {
                Ok(udp) => all.udp.extend(udp),
                // A descriptor of another kind stays open and unused.
                Err(_) => all.tcp.extend(passed.take_tcp_listener(place).ok().flatten()),
            }
        }
        all
    }

    /// One socket, as of a socket unit.
    #[cfg(test)]
    pub(in crate::serve) fn of_udp(socket: UdpSocket) -> Self {
        Self { udp: vec![socket], tcp: Vec::new() }
    }

    /// Their addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.places().map(|(_, address)| address)
    }

    /// The same, each with UDP or TCP.
    pub(super) fn places(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|socket| (Transport::Udp, socket.local_addr()));
        let tcp = self.tcp.iter().map(|listener| (Transport::Tcp, listener.local_addr()));
        udp.chain(tcp).filter_map(|(transport, address)| Some((transport, address.ok()?)))
    }
}

/// Whether systemd has started this process and wants to be told of it.
pub(in crate::serve) fn is_there() -> bool {
    env::var_os(NOTIFY_SOCKET).is_some_and(|to| !to.is_empty())
}

/// How often systemd wants to hear that this process answers: twice in the time after which it ends a silent one.
pub(crate) fn pulse() -> Option<Duration> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_default());
    pulse_of(number(WATCHDOG_USEC)?, number(WATCHDOG_PID), std::process::id())
}

/// The threads of this process that answer do so.
pub(crate) fn alive() {
    let Some(to) = env::var_os(NOTIFY_SOCKET).filter(|to| !to.is_empty()) else { return };
    if let Err(error) = try_send(to.as_bytes(), ALIVE, &[]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// As sd_watchdog_enabled(3) has it: for one process, or for whoever has the variable.
fn pulse_of(micros: u64, pid: Option<u64>, own: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid == u64::from(own));
    (is_meant && micros > 0).then(|| Duration::from_micros(micros.div_ceil(2)))
}

/// systemd keeps copies of these, which are for this address of this setting.
pub(super) fn keep(setting: &str, address: SocketAddr, descriptors: &[BorrowedFd<'_>]) {
    // Without FDPOLL=0 a socket with an error would be dropped (systemd 246).
    let text = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name(setting, address));
    descriptors.chunks(MAX_DESCRIPTORS).for_each(|some| send(&text, some));
}

/// systemd is to keep none with this name any longer.
pub(in crate::serve) fn forget(name: &str) {
    send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]);
}

/// Waits until systemd has done what it was told, for a second at most (sd_notify_barrier(3)).
pub(super) fn settle() {
    let Ok((own, passed)) = UnixStream::pair() else { return };
    send("BARRIER=1", &[passed.as_fd()]);
    drop(passed);
    if own.set_read_timeout(Some(SETTLE_LIMIT)).is_ok() {
        // The other end is closed then, or systemd is older than barriers.
        let _ = (&own).read(&mut [0]);
    }
}

/// The name of those that are for this address of this setting: ASCII without a colon.
pub(super) fn name(setting: &str, address: SocketAddr) -> String {
    format!("{setting}-{address}").replace(':', "_")
}

fn send(text: &str, descriptors: &[BorrowedFd<'_>]) {
    let Some(to) = env::var_os(NOTIFY_SOCKET).filter(|to| !to.is_empty()) else { return };
    if let Err(error) = try_send(to.as_bytes(), text, descriptors) {
        tracing::warn!(%error, "systemd keeps no sockets for the next process");
    }
}

fn try_send(to: &[u8], text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let address = match to.strip_prefix(b"@") {
        Some(name) => Address::from_abstract_name(name)?,
        None => Address::from_pathname(std::ffi::OsStr::from_bytes(to))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
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
}
