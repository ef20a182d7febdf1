//! A running server's admin listener, as commands ask it.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Admin;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(10);
/// Some hundred thousand zones.
const MOST_BYTES: u64 = 256 << 20;

/// Asks for a path; the body of the answer.
pub(super) fn ask(admin: &Admin, method: &str, path: &str) -> io::Result<Vec<u8>> {
    // Where only loopback is listened on, no token is needed.
    let token = std::fs::read_to_string(&admin.token_file).unwrap_or_default();
    let mut stream = TcpStream::connect_timeout(&reachable(admin.listen), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let authorization = match token.trim() {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = answer.split_off(end + 4);
    match head.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => {
            let line = head.lines().next().unwrap_or_default();
            let why = String::from_utf8_lossy(&body);
            Err(io::Error::other(format!("{line}: {}", why.trim_end())))
        }
    }
}

/// A server that listens everywhere is here, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
        }
        other => other,
    }
}

/// Rows of cells, in columns.
pub(super) fn table<const COLUMNS: usize>(rows: Vec<[String; COLUMNS]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end()).expect("a String takes any text");
    }
    out
}
