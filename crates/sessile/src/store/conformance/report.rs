//! What a run of the suite found.

use std::fmt;

use super::verdict::Failure;

/// Every case that was run, and how it ended. Its `Display` is a table.
#[derive(Debug, Clone)]
pub struct Report {
    /// [`SessionStore::name`](crate::store::SessionStore::name).
    pub store: &'static str,
    /// In the order in which they ran.
    pub results: Vec<CaseResult>,
}

/// How one case ended.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// [`Case::name`](super::Case::name).
    pub name: &'static str,
    /// [`Case::numbers`](super::Case::numbers).
    pub numbers: &'static str,
    /// Passed, or why not.
    pub verdict: Result<(), Failure>,
}

impl Report {
    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseResult> {
        self.results.iter().filter(|result| result.verdict.is_err())
    }

    /// Whether the store conforms.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// For a test.
    ///
    /// # Panics
    /// With the whole table, when a case failed.
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the store does not conform\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&CaseResult) -> &str| {
            self.results.iter().map(|result| text(result).len()).max().unwrap_or_default()
        };
        let (names, numbers) = (width(|result| result.name), width(|result| result.numbers));
        for result in &self.results {
            write!(f, "{:<names$}  {:<numbers$}  ", result.name, result.numbers)?;
            match &result.verdict {
                Ok(()) => f.write_str("passed\n")?,
                Err(failure) => writeln!(f, "FAILED: {failure}")?,
            }
        }
        let failed = self.failures().count();
        write!(f, "{}: {} passed, {failed} failed", self.store, self.results.len() - failed)
    }
}
