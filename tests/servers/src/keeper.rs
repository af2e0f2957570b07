//! A child process that ends, with its folder, when this process does, in whatever way that happens.
//!
//! The standard library cannot ask the kernel for that without `unsafe`, and no signal handler runs on
//! `SIGKILL`; so a shell stands between, and notices that its standard input has ended (`keeper.sh`).

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::folder::{Folder, User};
use crate::process;
use crate::{Failure, Outcome};

const SCRIPT: &str = include_str!("keeper.sh");
pub(crate) const BEAT: Duration = Duration::from_millis(20);

/// A process that has not been waited for: its id is its own.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Child,
    pid: Pid,
}

impl Kept {
    /// Runs `command` as the folder's user, its output in the folder's log. `end` is the signal that ends it
    /// when nothing of it matters any more.
    pub(crate) fn start(folder: &Folder, end: &str, command: &[String]) -> Outcome<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder.path()).arg(end).arg("setsid");
        if let Some(User { uid, gid }) = folder.user {
            shell.args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"]);
        }
        shell.args(command);
        // Ours may name other servers, and Ctrl-C in a terminal is for us: the keeper ends it in good order.
        shell.env_clear().env("PATH", search_path()).env("LC_ALL", "C").current_dir("/").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());

        let program = command.first().map_or("", String::as_str);
        let mut keeper =
            shell.spawn().map_err(|cause| Failure::because(format!("cannot start {program}"), cause))?;
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            // What cannot be read is no number either.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        match pid {
            Some(pid) => Ok(Self { keeper, pid }),
            None => Err(Failure::new(format!("cannot start {program}: /bin/sh named no process"))),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        self.keeper.try_wait().map_err(|cause| Failure::because("cannot wait for a server", cause))
    }

    /// Waits for an end that was asked for; `None` when it does not come in time.
    pub(crate) fn wait(&mut self, patience: Duration) -> Outcome<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.ended()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(BEAT);
        }
    }

    /// Sends a signal to the process itself; nothing when it has ended already.
    pub(crate) fn signal(&mut self, signal: Signal) -> Outcome {
        if self.ended()?.is_some() { Ok(()) } else { process::signal(self.pid, signal) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The end of its input is the keeper's cue.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/bin", "/bin", "/usr/sbin"].map(Into::into));
    std::env::join_paths(folders).unwrap_or(path)
}
