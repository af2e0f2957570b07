//! Processes by their id.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, Outcome};

/// Sends a signal; one that has ended by now is no failure.
pub(crate) fn signal(pid: Pid, signal: Signal) -> Outcome {
    match kill_process(pid, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(cause) => Err(Failure::because(format!("cannot signal process {pid}"), cause)),
    }
}

/// The children of a process. The kernel's own list of them is not in every kernel.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent.as_raw_pid())).collect()
}

/// Whether it runs: one that only waits to be reaped does not.
pub(crate) fn is_running(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// The state and the parent. The name before them is in brackets and may hold anything.
fn stat(pid: Pid) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
