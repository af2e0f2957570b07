//! The batcher of the stores (`crates/sessile/src/store/group`), walked by a model checker through orders of
//! events: callers come, go away, lanes end, timers fire. The same scenarios must fail on each mutant that
//! `build.rs` makes of it.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    unused_variables,
    reason = "tests, and parts of the library that stand here alone"
)]

mod real;

/// With one fault each.
mod mutants {
    include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
}

use std::panic::catch_unwind;

/// Orders tried by chance, and as many with few changes of task, which finds what needs a rare order.
const ORDERS: usize = 500;

/// Orders tried one after the other, where there are few enough to see a good part of them.
const EVERY_ORDER: usize = 5_000;

type Scenario = fn();

macro_rules! scenarios {
    ($of:ident) => {
        [
            ("everybody_is_served", $of::scenarios::everybody_is_served as Scenario),
            ("a_crowd_is_served", $of::scenarios::a_crowd_is_served),
            ("callers_go_away", $of::scenarios::callers_go_away),
            ("an_accepted_write_is_made", $of::scenarios::an_accepted_write_is_made),
            ("loads_are_taken_back", $of::scenarios::loads_are_taken_back),
            ("who_is_refused_is_not_served", $of::scenarios::who_is_refused_is_not_served),
            ("who_waits_outside_is_let_in", $of::scenarios::who_waits_outside_is_let_in),
            ("only_the_bad_one_fails", $of::scenarios::only_the_bad_one_fails),
            ("lanes_die", $of::scenarios::lanes_die),
            ("a_shared_load_misses_nothing", $of::scenarios::a_shared_load_misses_nothing),
        ]
    };
}

/// [R02] [R03] [R11] No job is lost or answered twice, nobody gets somebody else's answer, the bounds hold,
/// and nobody waits while no lane runs: by chance and with few changes of task.
#[test]
fn in_whatever_order() {
    for (_, scenario) in scenarios!(real) {
        shuttle::check_random(scenario, ORDERS);
        shuttle::check_pct(scenario, ORDERS, 3);
    }
}

/// The same in one order after the other, for three callers.
#[test]
fn in_every_order_of_a_few() {
    shuttle::check_dfs(real::scenarios::everybody_is_served, Some(EVERY_ORDER));
}

/// The first scenario that fails.
fn caught_by(scenarios: &[(&'static str, Scenario)]) -> Option<&'static str> {
    let fails = |scenario: Scenario| {
        catch_unwind(|| shuttle::check_random(scenario, ORDERS)).is_err()
            || catch_unwind(|| shuttle::check_pct(scenario, ORDERS, 3)).is_err()
    };
    scenarios.iter().find(|(_, scenario)| fails(*scenario)).map(|(name, _)| *name)
}

macro_rules! mutants {
    ($($name:ident),* $(,)?) => {
        $(
            /// Somebody notices.
            #[test]
            fn $name() {
                use crate::mutants::$name;
                assert!(caught_by(&scenarios!($name)).is_some(), "nobody noticed the mutant");
            }
        )*
    };
}

mutants![
    wakes_nobody,
    mixes_answers_up,
    forgets_that_a_lane_ended,
    ends_a_lane_in_two_steps,
    starts_no_lane_for_the_lost,
    drops_accepted_writes,
    counts_no_joiners,
    joins_what_has_left,
    refuses_what_it_does,
    has_no_bound,
    lets_nobody_in,
];
