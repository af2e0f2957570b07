//! The suite that proves a store. Feature `conformance`.
//!
//! A store that passes keeps the contract of [`SessionStore`]; the cases come from the test suites and
//! the bug reports of established session libraries, and their numbers name them. One `#[tokio::test]`
//! for each case (your crate needs tokio with `macros` and `rt-multi-thread`):
//!
//! ```
//! # use std::sync::Arc;
//! # use sessile::store::{MemoryStore, SessionStore};
//! async fn a_fresh_store() -> Arc<dyn SessionStore> {
//!     Arc::new(MemoryStore::new())
//! }
//! sessile::conformance_tests!(a_fresh_store);
//! ```
//!
//! Or all of them in one go, on a multi-threaded tokio runtime (on another the races do not race),
//! with a table of the results: [`run`].
//!
//! Every case gets a store of its own, empty and ready ([`init`](SessionStore::init) done). All of it
//! plays in the year 2100.
//!
//! # Cases that are not here
//! The numbers are those of the project's list of behaviour cases. Groups A and B (the session object,
//! lazy loading) are the session floor's, D01, D02, D07, D08 (tokens) the record floor's. Of the others:
//!
//! * C01–C13, C19–C28, C31–C35: which token and which cookie belong to a session is decided above the
//!   store; here an id is given. C05 and C07 cannot be asked: an id is a UUID by its type.
//! * D04: there is nothing to upgrade, no token was ever stored.
//! * E01, E02, E07–E11, E20–E26: lifetimes are policy; a store is given instants and the time. E16 and
//!   E17: there is no "never", only the year 9999, which [`Timestamp::MAX`] stands for here.
//! * F07, F08: how many statements a call takes is for each store's own tests; here nobody can count.
//! * F13: quoting of table names is for each store that has tables.
//! * F20: address and user agent stand in the data, not in columns.
//! * F22, F23, R01, R05, R15: faults are for each store's own tests, which can make them.
//! * G05–G08: grace after a rotation is not a store's; here the old id is dead at once.
//! * G11: there is no lock per session, compare-and-swap takes its place.
//! * G13, G16, G17: logins, retries and cookies belong to the engine.
//! * H08, H13, H17–H22, H28, H29: there is one index, and who may see what is decided above.
//! * H14: a deletion without user or id cannot be written down with these types.
//! * H16: two tables are two stores.
//! * L08–L14: the purge's timetable is the engine's.
//! * Data as bytes or in a broken encoding, ids that are no UUID (R08): nobody can write them through
//!   the trait, so each store's own tests make such rows.

mod batches;
mod bytes;
mod expiry;
mod listing;
#[cfg(test)]
mod mutants;
mod purging;
mod races;
mod report;
mod rotation;
mod single_calls;
mod subject;
mod users;
mod verdict;
mod writes;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use crate::record::Timestamp;
use crate::store::SessionStore;

pub use report::{CaseResult, Report};
pub use single_calls::SingleCalls;
use subject::Subject;
pub use verdict::Failure;
use verdict::Verdict;

/// A case that hangs has failed.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// One thing that every store must do.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    numbers: &'static str,
    run: fn(Subject) -> Pin<Box<dyn Future<Output = Verdict> + Send>>,
}

impl Case {
    /// What must hold, as a path: `rotation::a_conflict_leaves_both_ids_as_they_are`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The behaviour cases and rules that it proves, with blanks between: `C14 S05`.
    pub fn numbers(&self) -> &'static str {
        self.numbers
    }

    /// Runs the case on this store, which must be empty and ready.
    ///
    /// # Errors
    /// When the store does not do what it must, panics, or has not done it after five minutes.
    pub async fn check(&self, store: Arc<dyn SessionStore>) -> Result<(), Failure> {
        // In a task of its own, so that a store which panics fails this case and no other.
        match tokio::time::timeout(TIME_LIMIT, tokio::spawn((self.run)(Subject(store)))).await {
            Ok(joined) => joined?,
            Err(_) => Err(Failure(format!("not done after {} s", TIME_LIMIT.as_secs()))),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("numbers", &self.numbers).finish()
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    crate::__conformance!(@each registry ())
}

/// Runs all cases, one after the other, each on a store that `make` makes for it. Needs a
/// multi-threaded tokio runtime.
pub async fn run<F, Fut>(make: F) -> Report
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn SessionStore>>,
{
    let mut report = Report { store: "", results: Vec::new() };
    for case in cases() {
        let store = make().await;
        report.store = store.name();
        let verdict = case.check(store).await;
        report.results.push(CaseResult { name: case.name, numbers: case.numbers, verdict });
    }
    report
}

/// What [`conformance_tests!`](crate::conformance_tests) makes each test do.
///
/// # Panics
/// When the case fails, with the reason.
#[doc(hidden)]
pub async fn prove<F, Fut>(name: &str, make: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Arc<dyn SessionStore>>,
{
    let Some(case) = cases().into_iter().find(|case| case.name == name) else {
        panic!("there is no case {name}");
    };
    if let Err(failure) = case.check(make().await).await {
        panic!("{name} [{}]: {failure}", case.numbers);
    }
}

/// One `#[tokio::test]` for every case, in modules by theme.
///
/// The argument is a function without arguments whose future is an `Arc<dyn SessionStore>`, empty and
/// ready. See [`conformance`](mod@crate::store::conformance).
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::__conformance!(@each tests ($make));
    };
}

/// The one list of cases: whoever adds one adds it here. `numbers` repeats the doc comment.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    (@each $what:ident $make:tt) => {
        $crate::__conformance! {
            @$what $make
            writes {
                a_new_row_is_loaded_as_it_was_inserted "F01 F04",
                an_unknown_id_is_nothing_and_makes_nothing "F02 B04 S03",
                an_id_is_taken_once "F11",
                an_update_changes_what_it_names_and_nothing_else "F05 F08 H05",
                an_update_to_what_is_there_already_applies "F05",
                an_update_that_keeps_the_data_compares_it "F08",
                an_update_needs_the_data_that_was_read "G02",
                the_deleted_stay_deleted "G01 G14 C20",
                deleting_twice_is_harmless "C29 H02",
            }
            expiry {
                an_expired_row_is_loaded_and_told_apart "E13 E04",
                an_expired_row_takes_no_write_but_delete "E14 S09",
                a_row_is_over_at_its_expiry "E05 S08",
                expiry_moves_back_only_when_it_is_set "E19",
                an_expiry_set_to_the_past_ends_the_row "E02 G01",
                a_touch_leaves_the_data_alone "G04 B13 E22",
            }
            rotation {
                a_rotation_kills_the_old_id_and_brings_the_new_row "C14 C17 C23 S05",
                of_a_chain_only_the_last_id_is_left "C16 C19",
                the_old_id_takes_no_write "G01 G05",
                a_rotation_onto_a_taken_id_changes_nothing "C32 F11",
                a_rotation_onto_the_same_id_replaces_the_row "C19",
                a_rotation_moves_the_index "H02 H05 H07 H10",
            }
            bytes {
                data_comes_back_byte_for_byte "F01 K01",
                data_is_compared_byte_for_byte "G02",
                data_may_be_null "G02 R08",
                times_may_be_null "F04 R08",
                large_data_comes_back_whole "F10",
                times_are_kept_to_the_microsecond "F04",
                times_are_compared_as_times "E04 L02",
                user_ids_are_compared_byte_for_byte "F04 H01",
            }
            batches {
                loads_are_answered_in_order "F01 F02",
                single_loads_are_answered_in_order "F01",
                an_unmatched_write_leaves_its_neighbours_alone "G16",
                an_unmatched_single_write_leaves_its_neighbours_alone "G16",
                a_refused_write_leaves_its_neighbours_alone "G16 F11",
                a_batch_is_made_in_its_order "G02",
                single_writes_are_made_in_their_order "G02",
                a_batch_may_be_large "F01",
                a_dropped_call_harms_nobody "R03",
            }
            listing {
                an_empty_store_lists_nothing "F17",
                pages_hold_every_row_once_in_order "H25 F16",
                paging_survives_deletions_between_pages "H26",
                a_meaningless_cursor_is_the_first_page "H26",
                a_users_sessions_are_found_by_liveness "H01 H04 H07",
                a_listed_session_can_be_deleted "D05",
                stats_count_what_is_there "R10",
                init_changes_nothing_that_is_there "F14",
                an_examination_leaves_all_as_it_is "R07",
            }
            users {
                the_user_is_set_changed_and_cleared "F19 H02 H05 H07",
                delete_user_ends_all_of_a_users_sessions "H11 S10",
                delete_user_keeps_the_session_it_is_told_to_keep "H20 S10",
                sessions_ended_with_their_user_stay_ended "G01 G14",
            }
            purging {
                a_purge_removes_what_has_expired_and_nothing_else "L01 E05",
                a_purge_reports_the_users "L05",
                a_purge_leaves_what_never_expires "L02",
                a_purge_keeps_to_its_rows_and_ends "L04 L05 R10",
                a_purge_of_no_rows_is_refused "R20",
                a_purge_without_time_gets_on "R10",
                a_purge_goes_by_the_newest_expiry "L01",
            }
            races {
                insert_against_insert "R12 G10 F11",
                update_against_update "R12 G02",
                changes_that_try_again_are_all_kept "R12 G02",
                save_against_revoke "R12 G01 G14",
                touch_against_delete "R12 G14",
                delete_against_delete "R12 C29",
                rotate_against_rotate "R12 S05",
                rotate_against_update "R12 G01",
                rotate_against_delete "R12 G01 C20",
                two_rotations_onto_one_id "R12 S05",
                rotate_against_delete_user "R12 S10",
                touch_and_save_against_delete_user "R12 G14",
                purge_against_touch "R12 L01 E14",
                purge_against_save "R12 L01",
                purge_against_purge "R12 L05 L07",
                lone_writes_beside_failing_batches "R17",
            }
        }
    };
    (@registry () $($module:ident { $($case:ident $numbers:literal,)* })*) => {
        vec![$($(
            Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                numbers: $numbers,
                run: |store| Box::pin($module::$case(store)),
            },
        )*)*]
    };
    (@tests ($make:expr) $($module:ident { $($case:ident $numbers:literal,)* })*) => {
        $(
            mod $module {
                #[allow(unused_imports, reason = "where the store's maker stands")]
                use super::*;

                $(
                    #[doc = $numbers]
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $case() {
                        let name = concat!(stringify!($module), "::", stringify!($case));
                        $crate::store::conformance::prove(name, $make).await;
                    }
                )*
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in the list are those in the doc comments, and no case is left out of it.
    #[test]
    fn the_list_is_what_the_modules_hold() {
        let mut documented = Vec::new();
        for (module, source) in [
            ("writes", include_str!("writes.rs")),
            ("expiry", include_str!("expiry.rs")),
            ("rotation", include_str!("rotation.rs")),
            ("bytes", include_str!("bytes.rs")),
            ("batches", include_str!("batches.rs")),
            ("listing", include_str!("listing.rs")),
            ("users", include_str!("users.rs")),
            ("purging", include_str!("purging.rs")),
            ("races", include_str!("races.rs")),
        ] {
            let mut numbers = Vec::new();
            for line in source.lines() {
                if let Some(name) = line.strip_prefix("pub(super) async fn ") {
                    let name = name.split('(').next().unwrap();
                    documented.push((format!("{module}::{name}"), numbers.join(" ")));
                } else if let Some(comment) = line.strip_prefix("///") {
                    let brackets = comment.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
                    numbers.extend(brackets.map(|(number, _)| number.to_owned()));
                    continue;
                }
                numbers.clear();
            }
        }
        let listed = cases().into_iter().map(|case| (case.name.to_owned(), case.numbers.to_owned()));
        assert_eq!(listed.collect::<Vec<_>>(), documented);
    }
}
