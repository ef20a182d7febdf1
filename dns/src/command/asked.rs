//! A running server's admin listener, as commands ask it.

mod peer;
mod stream;

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::time::Duration;

use self::stream::Stream;
use crate::admin::{Problem, Token};
use crate::config::Admin;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer takes as long in all, however often a byte of it comes.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(60);
/// Some hundred thousand zones.
const MOST_BYTES: u64 = 256 << 20;

/// Asks for a path; the body of the answer.
pub(super) fn ask(admin: &Admin, method: &str, path: &str) -> io::Result<Vec<u8>> {
    let (stream, wrong) = connected(admin, method, path)?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = answer.split_off(end + 4);
    match head.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => Err(refused(&head, &body, &wrong)),
    }
}

/// A connection on which this was asked, and what is wrong with the token if the server does not know it. HTTP/1.0: the answer
/// comes as it is and ends with the connection.
fn connected(admin: &Admin, method: &str, path: &str) -> io::Result<(Stream, String)> {
    let mut stream = Stream::connect(admin, PATIENCE, PATIENCE_IN_ALL)?;
    // Where only loopback is listened on, not everything needs a token.
    let file = admin.token_file.display();
    let (authorization, wrong) = match Token::read(&admin.token_file) {
        Ok(token) => {
            stream.may_see_token(admin)?;
            let field = format!("Authorization: Bearer {}\r\n", token.shown_for(path));
            (field, format!("the token in {file} is not this server's"))
        }
        Err(error) => (String::new(), format!("it wants a token, and {file} has none to read: {error}")),
    };
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{authorization}\r\n")?;
    Ok((stream, wrong))
}

/// `wrong` is the reason if the server knows no token that it was shown.
fn refused(head: &str, body: &[u8], wrong: &str) -> io::Error {
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("401") {
        return io::Error::other(wrong);
    }
    // Another program behind this address may say anything.
    let why = serde_json::from_slice::<Problem>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).trim_end().to_owned(), |problem| problem.detail);
    io::Error::other(format!("{line}: {why}"))
}

/// Asks for lines that come as long as both want: each is handed to `take`, which says whether it wants more.
pub(super) fn follow(admin: &Admin, path: &str, mut take: impl FnMut(&str) -> bool) -> io::Result<()> {
    let (stream, wrong) = connected(admin, "GET", path)?;
    let mut lines = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while lines.read_line(&mut line)? > 2 {
        head += &std::mem::take(&mut line);
    }
    if head.split(' ').nth(1) != Some("200") {
        let mut body = Vec::new();
        lines.take(MOST_BYTES).read_to_end(&mut body)?;
        return Err(refused(&head, &body, &wrong));
    }
    // A quiet server says nothing for long.
    lines.get_mut().wait_for_ever()?;
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the server has ended the stream"));
        }
        if !take(line.trim_end()) {
            return Ok(());
        }
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
