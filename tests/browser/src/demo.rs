//! The demo shop as a process of its own, with its store in a file.

use std::process::Command;

use tempfile::TempDir;

use crate::process::Running;
use crate::{Failure, Outcome, places};

/// A running `sessile demo` on a port of its own choice and a fresh SQLite file.
#[derive(Debug)]
pub struct Demo {
    /// Before the folder: fields are dropped in order, and the server has its file open.
    running: Option<Running>,
    folder: TempDir,
    address: String,
}

impl Demo {
    /// Starts the shop and waits until it prints its URL.
    ///
    /// # Errors
    /// When it cannot be built or started, or prints no URL in time.
    pub fn start() -> Outcome<Self> {
        let folder = TempDir::new().map_err(|cause| Failure::because("cannot make a folder", cause))?;
        let mut demo = Self { running: None, folder, address: "127.0.0.1:0".to_owned() };
        demo.run()?;
        Ok(demo)
    }

    /// The URL of a page, by its path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends the shop as Ctrl-C would.
    ///
    /// # Errors
    /// When it takes too long, or its exit code is not 0.
    pub fn stop(&mut self) -> Outcome {
        let Some(running) = self.running.take() else { return Err(Failure::new("the shop is not running")) };
        let status = running.interrupt()?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("the shop ended with {status}"))) }
    }

    /// Stops the shop and starts it again, on the same port and file.
    ///
    /// # Errors
    /// As [`Demo::start`] and [`Demo::stop`].
    pub fn restart(&mut self) -> Outcome {
        self.stop()?;
        self.run()
    }

    fn run(&mut self) -> Outcome {
        let store = format!("sqlite:{}", self.folder.path().join("shop.db").display());
        let mut command = Command::new(places::sessile()?);
        command.args(["demo", "--addr", &self.address, "--store", &store]);
        let (running, address) = Running::start("sessile demo", &mut command, address)?;
        self.running = Some(running);
        self.address = address;
        Ok(())
    }
}

/// The address in a line that holds `http://127.0.0.1:PORT`.
fn address(line: &str) -> Option<String> {
    const HOST: &str = "127.0.0.1:";
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{HOST}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_printed_url() {
        assert_eq!(
            address("Shop: http://127.0.0.1:8080/ (Ctrl-C ends it)"),
            Some("127.0.0.1:8080".to_owned())
        );
        assert_eq!(address("listening on http://127.0.0.1:41234"), Some("127.0.0.1:41234".to_owned()));
        assert_eq!(address("store sqlite:shop.db"), None);
        assert_eq!(address("http://127.0.0.1:"), None);
    }
}
