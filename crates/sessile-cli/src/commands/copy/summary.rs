//! What a copy did, in numbers.

use std::io;

use serde::Serialize;

use crate::output::{Output, json, plain};

/// How many sessions met which fate.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Summary {
    /// Live sessions that the source has.
    pub(super) read: u64,
    /// Written to the target and read back.
    pub(super) copied: u64,
    /// At the target already, the same.
    pub(super) present: u64,
    /// At the target already, changed there later.
    pub(super) newer_there: u64,
    /// Ended at the target since an earlier run, and not brought back.
    pub(super) ended_there: u64,
    /// Ended at the source since an earlier run, and now at the target too.
    pub(super) ended_here: u64,
    /// Rows of the source that cannot be read.
    pub(super) malformed: u64,
    /// Sessions that the target did not take.
    pub(super) failed: u64,
}

/// The object for programs.
#[derive(Serialize)]
struct Report<'a> {
    from: &'a str,
    to: &'a str,
    dry_run: bool,
    #[serde(flatten)]
    summary: Summary,
}

/// From where to where, and whether it was done.
pub(super) struct Place<'a> {
    from: &'a str,
    to: &'a str,
    dry_run: bool,
}

impl Summary {
    pub(super) fn place<'a>(from: &'a str, to: &'a str, dry_run: bool) -> Place<'a> {
        Place { from, to, dry_run }
    }

    pub(super) fn print(self, output: Output, place: &Place<'_>) -> io::Result<()> {
        let &Place { from, to, dry_run } = place;
        output.either(
            || json::text(&Report { from, to, dry_run, summary: self }),
            || plain_lines(&self.lines(place)),
        )
    }

    /// What was copied, and what else there was.
    fn lines(self, place: &Place<'_>) -> Vec<String> {
        let (verb, ended) = if place.dry_run { ("would copy", "to be ended") } else { ("copied", "ended") };
        let mut lines = vec![format!("{verb} {} to {}", sessions(self.copied), place.to)];
        for (count, what) in [
            (self.present, "there already".to_owned()),
            (self.newer_there, "there already, and changed there later".to_owned()),
            (self.ended_there, "ended there since an earlier run: not brought back".to_owned()),
            (self.ended_here, format!("ended at the source since an earlier run: {ended} there too")),
            (self.malformed, "cannot be read: left".to_owned()),
            (self.failed, "could not be copied".to_owned()),
        ] {
            if count > 0 {
                lines.push(format!("{count} {what}"));
            }
        }
        lines
    }
}

fn sessions(count: u64) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}

fn plain_lines(lines: &[String]) -> String {
    lines.iter().map(|line| plain(line).into_owned() + "\n").collect()
}
