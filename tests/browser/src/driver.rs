//! ChromeDriver, and the browsers it opens.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;

use crate::process::Running;
use crate::{Browser, Failure, Outcome, Screen, places};

/// Nothing but the pages: no telling the world, no updates, no windows, no first-run questions. Containers
/// have neither the sandbox's privileges nor much shared memory.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
];

/// A running ChromeDriver. Its browsers end with it.
#[derive(Debug)]
pub struct Driver {
    running: Running,
    port: u16,
    chromium: String,
    /// The home of the browsers: each has its profile in a folder of its own.
    home: TempDir,
    opened: AtomicUsize,
}

impl Driver {
    /// Starts ChromeDriver on a free port.
    ///
    /// # Errors
    /// When the environment does not name the programs, or ChromeDriver does not start in time.
    pub fn start() -> Outcome<Self> {
        let chromium = places::program("SESSILE_TEST_CHROMIUM")?.to_string_lossy().into_owned();
        let home = TempDir::new().map_err(|cause| Failure::because("cannot make a folder", cause))?;
        let mut command = Command::new(places::program("SESSILE_TEST_CHROMEDRIVER")?);
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path());
        let (running, port) = Running::start("chromedriver", &mut command, port)?;
        Ok(Self { running, port, chromium, home, opened: AtomicUsize::new(0) })
    }

    /// Opens a headless Chromium with a fresh profile: another person, as far as a shop can tell.
    ///
    /// # Errors
    /// When Chromium does not start; the failure shows what ChromeDriver printed.
    pub async fn open(&self, screen: Screen) -> Outcome<Browser> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let profile = self.home.path().join(format!("profile-{number}"));
        let arguments = ARGUMENTS.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> =
            arguments.chain([format!("--user-data-dir={}", profile.display())]).collect();
        let mut capabilities = serde_json::Map::new();
        capabilities
            .insert("goog:chromeOptions".to_owned(), json!({ "binary": self.chromium, "args": arguments }));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await
            .map_err(|cause| self.running.failure(&format!("opened no browser ({cause})")))?;
        let browser = Browser::new(client);
        browser.resize(screen).await?;
        Ok(browser)
    }

    /// ChromeDriver leaves its browsers running when a signal ends it; this is how it takes them along.
    fn shut_down(&mut self) -> Outcome {
        let failed = |cause| Failure::because("cannot ask ChromeDriver to shut down", cause);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        let request =
            format!("GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port);
        stream.write_all(request.as_bytes()).map_err(failed)?;
        stream.read_to_end(&mut Vec::new()).map_err(failed)?;
        self.running.wait().map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Err(failure) = self.shut_down() {
            // The test has its result; what runs on is killed with `running`, and this line says why.
            eprintln!("{failure}");
        }
    }
}

/// The port in `ChromeDriver was started successfully on port 40773.`
fn port(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("started successfully on port ")?;
    port.trim_end_matches(['.', '\r']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line_that_says_it_is_ready() {
        assert_eq!(port("ChromeDriver was started successfully on port 40773."), Some(40773));
        assert_eq!(port("Starting ChromeDriver 141.0.1.2 (a21c) on port 0"), None);
    }
}
