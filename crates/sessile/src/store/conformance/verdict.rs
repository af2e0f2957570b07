//! How a case ends: it holds, or what was seen and what should have been.

use std::error::Error;
use std::fmt;

use crate::record::SessionRecord;
use crate::store::StoreError;

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

/// No case expects an error where it uses `?`.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let mut reason = format!("the store failed: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Failure(reason)
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Failure {
        let Ok(payload) = error.try_into_panic() else {
            return Failure("the task was cancelled".to_owned());
        };
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Failure(format!("panicked: {}", text.unwrap_or_default()))
    }
}

pub(super) type Verdict = Result<(), Failure>;

/// `what` must hold.
#[track_caller]
pub(super) fn holds(condition: bool, what: impl fmt::Display) -> Verdict {
    let place = std::panic::Location::caller();
    if condition { Ok(()) } else { Err(Failure(format!("{what} [line {}]", place.line()))) }
}

/// Both must be equal.
#[track_caller]
pub(super) fn same<T: PartialEq + fmt::Debug>(got: &T, wanted: &T, what: impl fmt::Display) -> Verdict {
    holds(got == wanted, format_args!("{what}: got {got:?}, wanted {wanted:?}"))
}

/// The row must be there with these columns; `None` when it must not be there.
#[track_caller]
pub(super) fn same_row(
    got: Option<&SessionRecord>,
    wanted: Option<&SessionRecord>,
    what: impl fmt::Display,
) -> Verdict {
    let show = |row: Option<&SessionRecord>| row.map_or("no row".to_owned(), columns);
    holds(got == wanted, format_args!("{what}: got {}, wanted {}", show(got), show(wanted)))
}

/// All columns, the data too (which `Debug` hides: these rows are nobody's), unless it is long.
fn columns(row: &SessionRecord) -> String {
    match row.stored_data().as_text() {
        Some(text) if text.len() <= 100 => format!("{row:?} with {text:?}"),
        _ => format!("{row:?}"),
    }
}
