//! A client that leaves while it waits for its origin.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::clock::Clock;

/// The first bytes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// None were read.
    Nothing,
    /// A ClientHello.
    Hello,
    /// Others.
    Something,
}

impl Said {
    pub(super) fn of(early: &[u8], is_tls: bool) -> Self {
        match early {
            [] => Self::Nothing,
            _ if is_tls => Self::Hello,
            _ => Self::Something,
        }
    }
}

/// A client that has sent its end so early may still read the first bytes of an origin, as one does that only looks who is there.
/// It waits no longer than that: nobody could tell it from one that gave up, which keeps a place in the queue from others.
const EARLY_LIMIT: Duration = Duration::from_secs(1);

/// Ready when a client has left, as far as its connection shows.
///
/// A reset is the end. The end of what a client sends need not be: one that has sent its bytes may wait for the answer to them, and
/// TCP does not show whether it reads. After a moment it is the end for a client that has sent nothing, and for one that began a
/// TLS handshake, which takes more of its bytes (RFC 8446 §2).
pub(super) async fn left(client: &TcpStream, said: Said, clock: &Clock) {
    let ended = async {
        match (client.peek(&mut [0]).await, said) {
            (Err(_), _) => {}
            (Ok(0), Said::Nothing | Said::Hello) => clock.timer(EARLY_LIMIT).await,
            (Ok(_), _) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = client.ready(Interest::ERROR) => {}
        () = ended => {}
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use socket2::SockRef;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The two ends of a connection: the client's, and the edge's.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_client_that_resets_its_connection_has_left_whatever_it_sent() {
        for said in [Said::Nothing, Said::Hello, Said::Something] {
            let (mut client, edge) = pair().await;
            client.write_all(b"unread").await.unwrap();
            edge.readable().await.unwrap();
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            left(&edge, said, &Clock::system()).await;
        }
    }

    #[tokio::test]
    async fn a_client_that_has_sent_its_bytes_may_wait_for_their_answer() {
        let clock = Clock::system();
        for (said, expected) in [(Said::Nothing, true), (Said::Hello, true), (Said::Something, false)] {
            let (mut client, edge) = pair().await;
            client.shutdown().await.unwrap();
            assert_eq!(edge.peek(&mut [0]).await.unwrap(), 0);
            let mut leaving = std::pin::pin!(left(&edge, said, &clock));
            let mut has_left = || leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            assert!(!has_left(), "{said:?}");
            clock.advance(EARLY_LIMIT);
            assert_eq!(has_left(), expected, "{said:?}");
        }
    }
}
