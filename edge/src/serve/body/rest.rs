//! The way on of a body whose file cannot be read: its origin is asked for the rest.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Body as _;

use super::SendError;
use crate::flight::{Elsewhere, Flights};
use crate::metrics::SiteMetrics;
use crate::origin::OriginBody;
use crate::store::Unread;

/// Where the rest of a body is to be had.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Rest {
    pub(in crate::serve) flights: Arc<Flights>,
    pub(in crate::serve) of: Arc<Elsewhere>,
}

impl Rest {
    /// Asks for so many bytes from `first` on, as the file cannot be read.
    pub(super) fn ask(&self, first: u64, bytes: u64, why: Unread) -> Box<Coming> {
        let (Self { flights, of }, site) = (self.clone(), self.of.site.metrics.clone());
        let asking = Box::pin(async move { flights.rest_of(&of, first, bytes).await });
        Box::new(Coming { from: From::Asked { asking, why: Some(why) }, site, left: bytes })
    }
}

/// The rest of a body on its way from the origin.
pub(super) struct Coming {
    from: From,
    site: SiteMetrics,
    left: u64,
}

type Asking = Pin<Box<dyn Future<Output = Option<OriginBody>> + Send>>;

enum From {
    Asked { asking: Asking, why: Option<Unread> },
    Origin(OriginBody),
}

impl Coming {
    pub(super) fn bytes(&self) -> u64 {
        self.left
    }

    /// The next bytes of it, none at its end. An error if the origin has not exactly these.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SendError>>> {
        loop {
            match &mut self.from {
                From::Asked { asking, why } => match ready!(asking.as_mut().poll(cx)) {
                    Some(body) => self.from = From::Origin(body),
                    None => {
                        let why = why.take().unwrap_or(Unread::Ended);
                        return Poll::Ready(Some(Err(SendError::File(why))));
                    }
                },
                From::Origin(_) if self.left == 0 => return Poll::Ready(None),
                From::Origin(body) => {
                    let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                        Some(frame) => frame.map_err(SendError::Origin),
                        None => Err(SendError::File(Unread::Ended)),
                    };
                    let bytes = match frame {
                        Ok(frame) => frame.into_data().unwrap_or_default(),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    self.site.fetched(bytes.len());
                    match self.left.checked_sub(bytes.len() as u64) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(Some(Err(SendError::File(Unread::Ended)))),
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").field("left", &self.left).finish_non_exhaustive()
    }
}
