//! Ends the wait of a thread in the kernel. Shutting its socket down would do so, too, but for every process that has the socket.

use std::io;
use std::mem;
use std::os::unix::thread::JoinHandleExt as _;
use std::ptr;
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that was about to wait when the signal came sleeps all the same: it is sent again after this long.
const AGAIN: Duration = Duration::from_millis(1);

/// Waits for threads that have been told to end. A wait of theirs for a packet ends at once: by a signal, which nothing restarts
/// where the socket has a read timeout (signal(7)).
pub(in crate::serve) fn end(threads: Vec<JoinHandle<()>>) {
    let running = || threads.iter().filter(|thread| !thread.is_finished());
    while running().next().is_some() {
        running().for_each(interrupt);
        std::thread::park_timeout(AGAIN);
    }
    for ended in threads.into_iter().map(JoinHandle::join) {
        if ended.is_err() {
            tracing::error!("a UDP loop panicked");
        }
    }
}

fn interrupt(thread: &JoinHandle<()>) {
    if let Some(signal) = signal() {
        // SAFETY: the handle was not joined, so that the thread's number is its own still; the signal has a handler.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) };
    }
}

/// A signal that does nothing but end a wait; none if the system takes no handler, and then the read timeout ends it.
fn signal() -> Option<libc::c_int> {
    static SIGNAL: OnceLock<Option<libc::c_int>> = OnceLock::new();
    *SIGNAL.get_or_init(|| {
        let signal = libc::SIGRTMIN();
        match handle(signal) {
            Ok(()) => Some(signal),
            Err(error) => {
                tracing::debug!(%error, "UDP loops end only after their read timeout");
                None
            }
        }
    })
}

extern "C" fn nothing(_: libc::c_int) {}

fn handle(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a `sigaction` is a plain C struct for which zero bytes are a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the pointer is to a live struct of the right type, and the handler touches nothing.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Longer than any test: only a wake ends the wait.
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_wait_ends_and_its_socket_goes_on_elsewhere() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let other = socket.try_clone().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Acquire) {
                assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::Interrupted);
            }
        });
        stop.store(true, Ordering::Release);
        end(vec![thread]);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"later", other.local_addr().unwrap()).unwrap();
        let mut packet = [0; 8];
        assert_eq!(other.recv(&mut packet).unwrap(), 5);
    }
}
