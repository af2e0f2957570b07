//! What all servers have in common: a folder, a port, a process, and a question that it answers when ready.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::folder::Folder;
use crate::keeper::{BEAT, Kept};
use crate::port::Port;
use crate::{Failure, Outcome, process};

/// How long a server may take to start or to stop before that counts as a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a start is tried on another port when the first is taken meanwhile.
const PORTS: usize = 5;

/// What one kind of server is.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Asks it to stop in good order, committed data kept.
    pub(crate) stop: Signal,
    /// Ends it when its data no longer matter.
    pub(crate) end: &'static str,
}

type Start = Box<dyn Fn(u16) -> Vec<String> + Send + Sync>;
type Answer = Box<dyn Fn(u16) -> Outcome + Send + Sync>;

/// A server of our own: what can be done to every kind of it. Ended, with its folder, when dropped.
///
/// Each method may be called from any thread, and takes effect on the process itself and on those it forked.
pub struct Server {
    kind: Kind,
    // Dropped before the folder.
    running: Mutex<Option<Kept>>,
    port: Port,
    command: Start,
    answers: Answer,
    pub(crate) folder: Folder,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start(kind: Kind, folder: Folder, command: Start, answers: Answer) -> Outcome<Self> {
        let running = Mutex::new(None);
        let mut server = Self { kind, running, port: Port::take()?, command, answers, folder };
        let mut attempt = 1;
        loop {
            match server.launch() {
                Err(_) if attempt < PORTS && server.port_was_taken() => attempt += 1,
                outcome => return outcome.map(|()| server),
            }
            server.port = Port::take()?;
        }
    }

    /// The port on 127.0.0.1; a restart keeps it.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process id; `None` when it was stopped or killed, or has ended by itself.
    pub fn pid(&self) -> Option<u32> {
        let mut running = self.running();
        let kept = running.as_mut()?;
        let ended = !matches!(kept.ended(), Ok(None));
        if ended { None } else { u32::try_from(kept.pid().as_raw_pid()).ok() }
    }

    /// The folder with its data, its log and, for the SQL servers, its Unix socket.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Stops it in good order: transactions under way are rolled back, connections closed.
    pub fn stop(&self) -> Outcome {
        self.end_with(self.kind.stop)
    }

    /// Kills it and all it forked, as a power failure would: what it had not yet written is lost.
    pub fn kill(&self) -> Outcome {
        self.end_with(Signal::KILL)
    }

    /// Makes it stand still: it accepts connections and answers nothing.
    pub fn pause(&self) -> Outcome {
        self.signal_all(Signal::STOP)
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> Outcome {
        self.signal_all(Signal::CONT)
    }

    /// Stops it if it runs, and starts it again: the same port, the same folder. Returns when it answers.
    pub fn restart(&self) -> Outcome {
        if self.running().is_some() {
            self.stop()?;
        }
        self.launch()
    }

    fn launch(&self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let mut running = self.running();
        let kept = running.insert(Kept::start(&self.folder, self.kind.end, &(self.command)(self.port()))?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
        let failed = loop {
            // A client program takes its time to say that nobody listens.
            let listens = TcpStream::connect_timeout(&address, BEAT);
            let answer = listens.map_err(|cause| Failure::because("it does not listen", cause));
            let answer = answer.and_then(|_| (self.answers)(self.port()));
            let ended = kept.ended()?;
            match (answer, ended) {
                (_, Some(status)) => break format!("ended with {status}"),
                (Ok(()), None) => return Ok(()),
                (Err(cause), None) if Instant::now() >= deadline => {
                    break format!("did not answer within {PATIENCE:?} ({cause})");
                }
                (Err(_), None) => thread::sleep(BEAT),
            }
        };
        let failure = Failure::new(format!(
            "{} {failed}; the end of its log:\n{}",
            self.kind.name,
            self.folder.log_tail()
        ));
        *running = None;
        Err(failure)
    }

    fn port_was_taken(&self) -> bool {
        self.folder.path().exists() && self.folder.log_tail().contains("Address already in use")
    }

    fn end_with(&self, signal: Signal) -> Outcome {
        let mut running = self.running();
        let kept = running.as_mut().ok_or_else(|| self.not_running())?;
        let children = process::children(kept.pid());
        kept.signal(signal)?;
        if signal == Signal::KILL {
            children.iter().try_for_each(|child| process::signal(*child, signal))?;
        } else {
            // Paused, it could not act on the signal.
            signal_each(kept, &children, Signal::CONT)?;
        }
        if kept.wait(PATIENCE)?.is_none() {
            let log = self.folder.log_tail();
            return Err(Failure::new(format!("{} did not stop; the end of its log:\n{log}", self.kind.name)));
        }
        *running = None;
        // Killed children belong to nobody who would wait for them.
        let deadline = Instant::now() + PATIENCE;
        while children.iter().any(|child| process::is_running(*child)) && Instant::now() < deadline {
            thread::sleep(BEAT);
        }
        Ok(())
    }

    fn signal_all(&self, signal: Signal) -> Outcome {
        let mut running = self.running();
        let kept = running.as_mut().ok_or_else(|| self.not_running())?;
        // Itself first: a process that stands still forks no further children.
        kept.signal(signal)?;
        let children = process::children(kept.pid());
        signal_each(kept, &children, signal)
    }

    fn not_running(&self) -> Failure {
        Failure::new(format!("{} does not run", self.kind.name))
    }

    fn running(&self) -> MutexGuard<'_, Option<Kept>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signal_each(kept: &mut Kept, children: &[Pid], signal: Signal) -> Outcome {
    kept.signal(signal)?;
    children.iter().try_for_each(|child| process::signal(*child, signal))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on port {} in {}", self.kind.name, self.port(), self.folder.path().display())
    }
}

/// Runs a command to its end, as the folder's user; `end` is the signal that breaks it off.
pub(crate) fn prepare(folder: &Folder, end: &str, command: &[String]) -> Outcome {
    let program = command.first().map_or("", String::as_str);
    let mut kept = Kept::start(folder, end, command)?;
    let failed = match kept.wait(PATIENCE)? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("failed with {status}"),
        None => format!("did not end within {PATIENCE:?}"),
    };
    Err(Failure::new(format!("{program} {failed}; it printed:\n{}", folder.log_tail())))
}

/// Runs a client program to its end and returns what it printed.
pub(crate) fn client_output(command: &mut Command) -> Outcome<String> {
    let program = command.get_program().display().to_string();
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|cause| Failure::because(format!("cannot run {program}"), cause))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim_end().to_owned());
    }
    let printed = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::new(format!("{program} failed with {}: {}", ran.status, printed.trim_end())))
}
