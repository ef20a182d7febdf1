//! The turn of a listener at its socket, which a reload may have taken from another setting.

use tokio_util::sync::CancellationToken;

/// Begins when the listener before has taken the connections that waited for it, and says when this one has ended.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    after: Option<CancellationToken>,
    ended: CancellationToken,
}

impl Turn {
    /// Behind the listener that says so, if the socket had one.
    pub(crate) fn behind(after: Option<CancellationToken>) -> Self {
        Self { after, ended: CancellationToken::new() }
    }

    /// Told when this one has ended.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Accepts connections when it is time.
    pub(crate) async fn take(self, accepting: impl Future<Output = ()>) {
        let _ended = self.ended.drop_guard();
        if let Some(after) = self.after {
            after.cancelled().await;
        }
        accepting.await;
    }
}
