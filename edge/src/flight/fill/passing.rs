//! A body that is encoded on its way to one client, and not kept.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::arriving::Arriving;
use super::encode::Encoder;
use crate::metrics::SiteMetrics;
use crate::origin::OriginBody;

/// The encoded pieces as they are made. Its encoder waits for whoever reads it, and ends with it.
#[derive(Debug)]
pub struct Encoded(mpsc::Receiver<io::Result<Bytes>>);

impl Encoded {
    /// The next piece; none at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}

pub(in crate::flight) fn encoded(body: OriginBody, encoder: Encoder, site: &SiteMetrics) -> Encoded {
    // One piece waits for its reader while the next is made.
    let (pieces, reader) = mpsc::channel(1);
    let mut arriving = Arriving::new(body, site).encoded(encoder);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                biased;
                () = pieces.closed() => return,
                next = arriving.next() => next,
            };
            let Some(piece) = next else { return };
            let piece = piece.map_err(|broken| io::Error::other(broken.to_string()));
            let is_last = piece.is_err();
            if pieces.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Encoded(reader)
}
