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
#[allow(clippy::all, reason = "the faults are not good style")]
mod mutants {
    include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
}

use std::panic::catch_unwind;

/// Orders tried by chance, and as many with few changes of task, which finds what needs a rare order.
const ORDERS: usize = 150;

/// The same where one is to be found that fails.
const SEARCHED: usize = 1_000;

/// Orders tried one after the other, where there are few enough to see a good part of them.
const EVERY_ORDER: usize = 2_000;

const SCENARIOS: [fn(); 13] = [
    real::scenarios::everybody_is_served,
    real::scenarios::a_crowd_is_served,
    real::scenarios::a_crowd_is_gathered,
    real::scenarios::a_crowd_is_narrowed,
    real::scenarios::callers_come_again,
    real::scenarios::callers_go_away,
    real::scenarios::an_accepted_write_is_made,
    real::scenarios::loads_are_taken_back,
    real::scenarios::who_is_refused_is_not_served,
    real::scenarios::who_waits_outside_is_let_in,
    real::scenarios::only_the_bad_one_fails,
    real::scenarios::lanes_die,
    real::scenarios::a_shared_load_misses_nothing,
];

/// [R02] [R03] [R11] No job is lost or answered twice, nobody gets somebody else's answer, the bounds hold,
/// and nobody waits while no lane runs: by chance and with few changes of task.
#[test]
fn in_whatever_order() {
    for scenario in SCENARIOS {
        shuttle::check_random(scenario, ORDERS);
        shuttle::check_pct(scenario, ORDERS, 3);
    }
}

/// The same in one order after the other, for three callers.
#[test]
fn in_every_order_of_a_few() {
    shuttle::check_dfs(real::scenarios::everybody_is_served, Some(EVERY_ORDER));
}

fn fails(scenario: fn()) -> bool {
    catch_unwind(|| shuttle::check_random(scenario, SEARCHED)).is_err()
        || catch_unwind(|| shuttle::check_pct(scenario, SEARCHED, 3)).is_err()
}

macro_rules! mutants {
    ($($name:ident in $scenario:ident),* $(,)?) => {
        $(
            /// It is noticed, in the scenario that is about it.
            #[test]
            fn $name() {
                assert!(fails(mutants::$name::scenarios::$scenario), "nobody noticed the mutant");
            }
        )*
    };
}

mutants![
    wakes_nobody in everybody_is_served,
    mixes_answers_up in a_crowd_is_served,
    forgets_that_a_lane_ended in everybody_is_served,
    ends_a_lane_in_two_steps in callers_come_again,
    starts_no_lane_for_the_lost in lanes_die,
    drops_accepted_writes in an_accepted_write_is_made,
    counts_no_joiners in a_shared_load_misses_nothing,
    joins_what_has_left in a_shared_load_misses_nothing,
    refuses_what_it_does in who_is_refused_is_not_served,
    has_no_bound in who_is_refused_is_not_served,
    lets_nobody_in in who_waits_outside_is_let_in,
];
