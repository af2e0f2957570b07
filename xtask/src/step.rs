//! Steps of a task: one line each, with the time it took, and the output only when it failed.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::problem::Problem;

/// Runs one step and prints its line: what is being done, then how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    print!("{what} ... ");
    // A line that cannot be shown is no reason to stop.
    let _ = std::io::stdout().flush();
    let start = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "done" } else { "failed" };
    println!("{word} ({:.1} s)", start.elapsed().as_secs_f64());
    outcome
}

/// Runs a command to its end and returns what it printed on standard output.
///
/// A failure shows the command, everything it printed, and `remedy`.
pub(crate) fn output(command: &mut Command, remedy: &str) -> Result<String, Problem> {
    let line = command_line(command);
    let remedy = if remedy.is_empty() { String::new() } else { format!("\n{remedy}") };
    let ran = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| Problem::new(format!("cannot run `{line}`: {cause}{remedy}")))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let printed = [ran.stdout, ran.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    Err(Problem::new(format!("`{line}` failed: {}\n{}{remedy}", ran.status, indented(printed.trim_end()))))
}

/// The command as somebody would type it.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

/// A word as a shell would need it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/opt/py thon");
        command.args(["-c", "print('x')", "--flag=1", ""]);
        assert_eq!(command_line(&command), r"'/opt/py thon' -c 'print('\''x'\'')' --flag=1 ''");
    }

    #[test]
    fn a_failing_command_shows_itself_its_output_and_the_way_out() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo second >&2; exit 3"]);
        let text = output(&mut command, "Try again.").unwrap_err().to_string();
        assert!(
            text.starts_with("`sh -c 'echo first; echo second >&2; exit 3'` failed: exit status: 3"),
            "{text}"
        );
        assert!(text.contains("\n    first\n    second\n"), "{text}");
        assert!(text.ends_with("\nTry again."), "{text}");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let text = output(&mut Command::new("/nonexistent/program"), "").unwrap_err().to_string();
        assert!(text.starts_with("cannot run `/nonexistent/program`: "), "{text}");
    }
}
