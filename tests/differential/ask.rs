//! Asks one server every question over UDP, a window at a time, over TCP where the answer was cut.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::decode::{self, Answer};
use crate::generate::Question;

const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_millis(700);
const TRIES: usize = 8;

/// One answer per question, in order; an error names the first question that stayed without one.
pub(crate) fn all(server: SocketAddr, questions: &[Question]) -> Result<Vec<Answer>, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.connect(server).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let mut answers = Vec::with_capacity(questions.len());
    for (start, window) in questions.chunks(WINDOW).enumerate() {
        answers.extend(ask_window(&socket, server, start * WINDOW, window)?);
    }
    Ok(answers)
}

fn ask_window(
    socket: &UdpSocket,
    server: SocketAddr,
    start: usize,
    window: &[Question],
) -> Result<Vec<Answer>, String> {
    let id_of = |index: usize| u16::try_from((start + index) & 0xffff).expect("masked to 16 bits");
    let mut open: HashMap<u16, usize> = (0..window.len()).map(|index| (id_of(index), index)).collect();
    let mut answers: Vec<Option<Answer>> = vec![None; window.len()];
    let mut buffer = vec![0; 65_535];
    for _ in 0..TRIES {
        for (&id, &index) in &open {
            // A refused send is a server that is gone; the count of tries ends that.
            let _ = socket.send(&window[index].wire(id));
        }
        while !open.is_empty() {
            let Ok(len) = socket.recv(&mut buffer) else { break };
            let wire = &buffer[..len];
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            let Some(index) = open.remove(&id) else { continue };
            let query = window[index].wire(id);
            let said = decode::answer(&query, wire)
                .ok_or_else(|| format!("{server}: malformed answer to {}", window[index]))?;
            answers[index] = Some(if said.truncated {
                Answer { truncated: true, bytes: said.bytes, ..over_tcp(server, &query)? }
            } else {
                said
            });
        }
        if open.is_empty() {
            return Ok(answers.into_iter().map(|said| said.expect("none is open")).collect());
        }
    }
    let silent = open.values().next().map(|index| window[*index].to_string()).unwrap_or_default();
    Err(format!("{server}: no answer to {silent}"))
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> Result<Answer, String> {
    let whole = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let len = u16::try_from(query.len()).expect("a query is short");
        stream.write_all(&[&len.to_be_bytes(), query].concat())?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut wire = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut wire)?;
        Ok(wire)
    };
    let wire = whole().map_err(|error| format!("{server}: over TCP: {error}"))?;
    decode::answer(query, &wire).ok_or_else(|| format!("{server}: malformed answer over TCP"))
}
