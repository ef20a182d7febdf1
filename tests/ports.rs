//! Addresses for servers that must be told which port to take, as two of them share it or one comes back to it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to clients and to listeners on port 0 (`net.ipv4.ip_local_port_range`, from 32,768 on).
const FIRST: u16 = 10_000;
const PORTS: u16 = 22_000;

/// An address of the loopback whose port nobody has, over UDP, TCP and both families, and that nobody gets by chance.
///
/// A port that was free a moment ago is no such port: the kernel gives it to the next connection of another test, and for a
/// minute after its end (TIME_WAIT) no server gets it.
pub(crate) fn address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Programs that test at the same time begin in different places.
    let start = std::process::id().wrapping_mul(7919);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let place = start.wrapping_add(next) % u32::from(PORTS);
        let port = FIRST + u16::try_from(place).unwrap();
        if is_free(port) {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
}

fn is_free(port: u16) -> bool {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let free = |address: SocketAddr| TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
    // One after the other: an address of IPv6 holds that of IPv4 too. Where there is no IPv6, nobody has it there.
    free(v4) && (free(v6) || UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err())
}
