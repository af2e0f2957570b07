//! The frame: help, usage, and the policy in plain words.

use crate::support::Place;

const COMMANDS: [&str; 14] = [
    "init", "create", "show", "set", "unset", "touch", "list", "revoke", "purge", "copy", "stats", "doctor",
    "verify", "policy",
];

#[test]
fn every_command_is_in_the_help_and_has_an_example() {
    let place = Place::empty();
    let help = place.run(["--help"]).done();
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let help = place.run([command, "--help"]).done();
        assert!(help.contains("Example") && help.contains(&format!("\n  sessile {command}")), "{help}");
        assert!(help.contains("--json"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    assert!(!place.file().exists());
}

/// The store's URL may hold a password one day.
#[test]
fn the_help_does_not_show_the_environment() {
    let place = Place::empty();
    assert!(!place.run(["list", "--help"]).done().contains(&place.store()));
}

#[test]
fn a_wrong_command_line_is_2() {
    let place = Place::empty();
    for arguments in [&[][..], &["lisst"], &["list", "--frob"], &["show"], &["create", "--ttl", "soon"]] {
        let ran = place.run::<&str>(arguments.iter().copied());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?} {ran:?}");
    }
    assert!(place.run(["lisst"]).err.contains("'list'"));
    assert!(place.run(["--version"]).done().starts_with("sessile "));
}

#[test]
fn the_policy_in_words_and_numbers() {
    let place = Place::empty();
    let words = place.run(["policy"]).done();
    assert!(words.contains("ends 30 min after the last request, and 1 day after the sign-in"), "{words}");
    let numbers = place.run(["policy", "--json"]).json();
    assert_eq!(numbers["idle_timeout"], 1_800);
    assert_eq!(numbers["absolute_lifetime"], 86_400);
    let lback = place.run(["policy", "--lback", "--json"]).json();
    assert_eq!((&lback["naming"], &lback["renew_after"]), (&"id".into(), &0.into()));
    assert!(lback["absolute_lifetime"].is_null());
    assert_eq!(place.run(["policy", "--policy", "lback", "--json"]).json(), lback);
    assert!(place.run(["policy", "--lback"]).done().contains("never while it is in use"));
}
