//! The `sessile` command: a demo shop, and the operations on a table of sessions.

mod arguments;
mod commands;
mod demo;
mod error;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(command: arguments::Command) -> Result<(), error::Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(error::Error::Start)?;
    runtime.block_on(commands::run(command))
}
