//! The next process, which takes over: the program that stands where this one came from, with the same arguments.
//!
//! It is a child of the machine's first process, as if that had started it, so that systemd hears of its end as of any main process's. The child of
//! this one would be so only when this one has ended: until then systemd would not notice that it crashed, nor afterwards why.
//!
//! Invariant: between fork(2) and execve(2) nothing is called but fork(2) and _exit(2), which a child of a process with threads may call
//! (signal-safety(7)).

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use verge_edge::handover::systemd::WATCHDOG_PID;

/// Starts it. Its own log says why, if it ends.
pub(super) fn start() -> io::Result<()> {
    let mut arguments = env::args_os();
    let program = arguments.next().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove(WATCHDOG_PID);
    // SAFETY: `leave_parent` keeps the invariant of this module.
    #[expect(unsafe_code, reason = "std starts children of its own alone")]
    let command = unsafe { command.pre_exec(leave_parent) };
    // That between the two has ended.
    command.spawn()?.wait().map(drop)
}

/// In the child: its own child goes on, and it ends.
fn leave_parent() -> io::Result<()> {
    // SAFETY: neither call takes a pointer, and nothing else runs in this process.
    #[expect(unsafe_code, reason = "std starts children of its own alone")]
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        _ => unsafe { libc::_exit(0) },
    }
}
