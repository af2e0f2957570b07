//! `sessile doctor`: whether sessions are safe in a store, in plain words.

use clap::Args;
use serde::Serialize;
use sessile::record::SystemClock;
use sessile::store::{Finding, Verdict};

use crate::arguments::TableArgs;
use crate::error::Error;
use crate::output::{Output, Style, columns, json, pieces, plain};

/// Look whether sessions are safe here, and say what to do
///
/// Looks at the table, the indexes, what we may do to it, the clocks, and what a logout is worth after a
/// crash. Changes nothing. A SQLite file is searched for damage, for ten seconds at most. The exit code is 0
/// when all is well or only worth a note, 1 when something is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile doctor --store postgres://ada@db.example/shop
  sessile doctor --json | jq '.findings[] | select(.verdict == \"wrong\")'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    at: TableArgs,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report<'a> {
    store: String,
    verdict: &'static str,
    findings: Vec<Found<'a>>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    subject: &'a str,
    verdict: &'static str,
    seen: &'a str,
    meaning: &'a str,
    remedy: Option<&'a str>,
}

impl<'a> From<&'a Finding> for Found<'a> {
    fn from(finding: &'a Finding) -> Found<'a> {
        Found {
            subject: &finding.subject,
            verdict: name(finding.verdict),
            seen: &finding.seen,
            meaning: &finding.meaning,
            remedy: finding.remedy.as_deref(),
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (url, output) = (self.at.url(), self.at.output());
        // The one clock of a command.
        let findings = match url.examine(&SystemClock).await {
            Ok(findings) => findings,
            Err(error) => vec![Finding::failed("store", &error)],
        };
        output.either(|| report(url.to_string(), &findings), || list(output, &findings))?;
        match findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
            0 => Ok(()),
            wrong => Err(Error::Wrong { wrong, store: url.to_string() }),
        }
    }
}

fn report(store: String, findings: &[Finding]) -> String {
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good);
    json::text(&Report { store, verdict: name(worst), findings: findings.iter().map(Found::from).collect() })
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Note => "note",
        Verdict::Wrong => "wrong",
    }
}

/// Returns the mark before a finding, which differs also without colours.
fn mark(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Good => ("good   ", Style::Good),
        Verdict::Note => ("note   ", Style::Note),
        Verdict::Wrong => ("WRONG  ", Style::Wrong),
    }
}

/// One finding after the other; what it means and what to do in lines of their own.
fn list(output: Output, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (mark, style) = mark(finding.verdict);
        let left = columns(mark);
        let head = format!("{}: {}", finding.subject, finding.seen);
        paragraph(output, &mut text, (&output.styled(style, mark), left), &head);
        let blank = " ".repeat(left);
        paragraph(output, &mut text, (&blank, left), &finding.meaning);
        if let Some(remedy) = &finding.remedy {
            paragraph(output, &mut text, (&blank, left), &format!("To do: {remedy}"));
        }
    }
    text
}

/// The words beside what stands, so many columns wide, on the left of their first line.
fn paragraph(output: Output, text: &mut String, (first, left): (&str, usize), words: &str) {
    let width = output.width().map_or(usize::MAX, |width| width.saturating_sub(left).max(20));
    for (line, piece) in pieces(&plain(words), width).into_iter().enumerate() {
        let blank = " ".repeat(left);
        text.push_str(if line == 0 { first } else { &blank });
        text.push_str(piece.trim_end());
        text.push('\n');
    }
}
