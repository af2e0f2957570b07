//! A program under test: started, read from, signalled by its process id, and never left behind.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, Outcome};

/// How long a program may take to start or to end before that counts as a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Running {
    /// Starts `command` and waits for the line of standard output in which `find` finds what it looks for.
    pub(crate) fn start<T>(
        name: &'static str,
        command: &mut Command,
        find: impl Fn(&str) -> Option<T>,
    ) -> Outcome<(Self, T)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|cause| Failure::because(format!("cannot start {command:?}"), cause))?;
        let printed = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        follow(child.stdout.take(), &printed, Some(sender));
        follow(child.stderr.take(), &printed, None);
        let running = Self { name, child, printed };

        let deadline = Instant::now() + PATIENCE;
        // The channel closes when the program closes its output, so an early death is noticed at once.
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return Ok((running, found));
            }
        }
        Err(running.failure("did not print the line that says it is ready"))
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    pub(crate) fn interrupt(mut self) -> Outcome<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .map_err(|cause| Failure::because(format!("cannot signal {}", self.name), cause))?;
        self.wait()?.ok_or_else(|| self.failure("did not end on SIGINT in time"))
    }

    /// Waits for an end that was asked for; `None` when it does not come in time.
    pub(crate) fn wait(&mut self) -> Outcome<Option<ExitStatus>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.child.try_wait();
            let status =
                status.map_err(|cause| Failure::because(format!("cannot wait for {}", self.name), cause))?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A failure that shows all the program has printed.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        Failure::new(format!("{} {what}; it printed:\n{printed}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps all that is printed, so that the pipe never fills, and passes the lines on.
fn follow(
    pipe: Option<impl Read + Send + 'static>,
    printed: &Arc<Mutex<String>>,
    lines: Option<Sender<String>>,
) {
    let Some(pipe) = pipe else { return };
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut all = printed.lock().unwrap_or_else(PoisonError::into_inner);
            all.push_str(&line);
            all.push('\n');
            drop(all);
            if let Some(lines) = &lines {
                // Nobody listens any more once the line was found.
                let _ = lines.send(line);
            }
        }
    });
}
