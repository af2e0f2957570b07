//! Redis, one server.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::folder::{Folder, User};
use crate::places::Places;
use crate::server::{Kind, Server};
use crate::{Failure, Outcome, port};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the Unix socket in a server's folder.
const SOCKET: &str = "redis.sock";

/// A Redis of our own, with a password. It persists nothing unless told: after a restart it is empty.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    password: String,
}

impl Redis {
    /// Starts one.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings, as in `redis.conf`: `("appendonly", "yes")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let mut all = vec![("save", "\"\""), ("appendonly", "no")];
        all.extend(settings);
        Self::start_node(&port::password()?, &all)
    }

    /// Starts a Valkey, which has the same settings.
    pub fn start_valkey_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let mut all = vec![("save", "\"\""), ("appendonly", "no")];
        all.extend(settings);
        Self::start_program("Valkey", &Places::from_environment().valkey()?, &port::password()?, &all, &[])
    }

    /// Starts one with this password and with Redis's defaults but for `settings`.
    pub(crate) fn start_node(password: &str, settings: &[(&str, &str)]) -> Outcome<Self> {
        Self::start_program("Redis", &Places::from_environment().redis()?, password, settings, &[])
    }

    /// Starts a sentinel with this password, which watches nothing.
    pub(crate) fn start_sentinel(password: &str) -> Outcome<Self> {
        let settings = [("sentinel", &*format!("sentinel-pass {password}"))];
        Self::start_program(
            "Sentinel",
            &Places::from_environment().redis()?,
            password,
            &settings,
            &["--sentinel"],
        )
    }

    fn start_program(
        name: &'static str,
        program: &Path,
        password: &str,
        settings: &[(&str, &str)],
        options: &'static [&'static str],
    ) -> Outcome<Self> {
        let folder = Folder::create(User::to_run_as(&["redis"])?)?;
        let program = match name {
            // Part of a virtual environment, which the server's user may not be able to enter.
            "Valkey" => folder.copy(program, "valkey-server")?,
            _ => program.display().to_string(),
        };
        let mut lines = format!("bind 127.0.0.1\ndir {}\nrequirepass {password}\n", folder.path().display());
        if options.is_empty() {
            let _ = writeln!(lines, "masterauth {password}\nunixsocket {}", folder.file(SOCKET));
        }
        for (name, value) in settings {
            // A String takes everything.
            let _ = writeln!(lines, "{name} {value}");
        }
        // In a file: a command line, and a password in it, can be read by everybody.
        let settings = folder.write("redis.conf", &lines)?;

        let kind = Kind { name, stop: Signal::TERM, end: "KILL" };
        let command = move |port: u16| {
            let port = port.to_string();
            let words = [&[&*program, &settings, "--port", &port], options].concat();
            words.into_iter().map(str::to_owned).collect()
        };
        let owned = password.to_owned();
        let answers = move |port| command_at(port, &owned, &["PING"]).map(drop);
        let server = Server::start(kind, folder, Box::new(command), Box::new(answers))?;
        Ok(Self { server, password: password.to_owned() })
    }

    /// `redis+unix://:password@/path`, the socket in its folder.
    pub fn socket_url(&self) -> String {
        format!("redis+unix://:{}@{}", self.password, self.server.folder().join(SOCKET).display())
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// `redis://:password@127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/", self.password, self.port())
    }

    /// Runs one command and returns its reply, the elements of an array as lines; an error reply is an error.
    pub fn command(&self, words: &[&str]) -> Outcome<String> {
        command_at(self.port(), &self.password, words)
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// One command over a connection of its own.
fn command_at(port: u16, password: &str, words: &[&str]) -> Outcome<String> {
    let what = || format!("`{}` on the Redis at port {port}", words.join(" "));
    let exchange = || -> std::io::Result<Result<String, String>> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all([encoded(&["AUTH", password]), encoded(words)].concat().as_bytes())?;
        let mut replies = BufReader::new(stream);
        match reply(&mut replies)? {
            Ok(_) => reply(&mut replies),
            refused => Ok(refused),
        }
    };
    exchange()
        .map_err(|cause| Failure::because(what(), cause))?
        .map_err(|said| Failure::because(what(), said))
}

fn encoded(words: &[&str]) -> String {
    words
        .iter()
        .fold(format!("*{}\r\n", words.len()), |all, word| all + &format!("${}\r\n{word}\r\n", word.len()))
}

/// One reply; inside, an error reply.
fn reply(from: &mut BufReader<TcpStream>) -> std::io::Result<Result<String, String>> {
    let unreadable = |line: &str| std::io::Error::other(format!("unreadable reply: {line:?}"));
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let rest = line.get(1..).unwrap_or_default();
    let length = || rest.parse::<i64>().map_err(|_| unreadable(line));
    match line.chars().next() {
        Some('+' | ':') => Ok(Ok(rest.to_owned())),
        Some('-') => Ok(Err(rest.to_owned())),
        Some('$') => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(Ok(String::new())) };
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some('*') => {
            let elements = (0..length()?).map(|_| reply(from));
            let elements: Result<Vec<String>, String> = elements.collect::<std::io::Result<_>>()?;
            Ok(elements.map(|elements| elements.join("\n")))
        }
        _ => Err(unreadable(line)),
    }
}
