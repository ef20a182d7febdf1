//! Ports for programs that are told which one to take.

use std::net::{SocketAddr, TcpListener, UdpSocket};

/// A socket for UDP at a port where TCP is free too.
///
/// The system counts ports of UDP and of TCP apart. A client's connection that ended a moment ago (TIME_WAIT) holds its port
/// of TCP for a minute, and after a load test that is a large part of them.
pub(crate) fn free_for_both() -> (UdpSocket, SocketAddr) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            return (udp, address);
        }
    }
}
