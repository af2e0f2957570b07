//! `revoke` and `purge`: what ends sessions asks where it should, and never ends everybody's.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::Place;

fn live(place: &Place) -> u64 {
    place.run(["stats", "--json"]).json()["live"].as_u64().unwrap()
}

/// Runs the tool on a terminal and types this; the exit code and what the terminal showed.
fn on_a_terminal(place: &Place, arguments: &[&str], typed: &str) -> (i32, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
    // Kept open, so that the end of the tool is not the end of the terminal before all is read.
    let mut command = place.command(arguments);
    command.stdin(side()).stdout(side()).stderr(side());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut terminal = File::from(terminal);
    terminal.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let mut part = [0; 1024];
    // Linux answers an error once nobody holds the other side.
    while let Ok(read @ 1..) = terminal.read(&mut part) {
        shown.extend_from_slice(&part[..read]);
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8(shown).unwrap())
}

#[test]
fn revoke_ends_one_session() {
    let place = Place::new();
    let (one, other) = (place.id(&["--user", "ada"]), place.id(&["--user", "ada"]));
    assert_eq!(place.run(["revoke", &one]).done(), format!("ended session {one}\n"));
    assert_eq!(place.run(["revoke", &one]).refused(3), format!("no session {one}"));
    assert_eq!(place.run(["show", &one]).code, 3);
    let ended = place.run(["revoke", &other, "--json"]).json();
    assert_eq!((&ended["revoked"], &ended["id"]), (&1.into(), &other.into()));
}

/// [H11] [S10]
#[test]
fn revoke_ends_all_of_a_user_and_nobody_elses() {
    let place = Place::new();
    for user in ["ada", "ada", "ada", "Ada", "bob"] {
        place.id(&["--user", user]);
    }
    place.id(&[]);
    let ended = place.run(["revoke", "--user", "ada", "--yes", "--json"]).json();
    assert_eq!((&ended["revoked"], &ended["user_id"]), (&3.into(), &"ada".into()));
    assert_eq!(live(&place), 3);
    assert_eq!(place.run(["revoke", "--user", "ada", "--yes"]).done(), "ended 0 sessions of ada\n");
    assert_eq!(place.run(["revoke", "--user", "bob", "--yes"]).done(), "ended 1 session of bob\n");
}

/// [H14] There is no way to say "everybody".
#[test]
fn revoke_without_id_and_user_ends_nothing() {
    let place = Place::new();
    let id = place.id(&["--user", "ada"]);
    for arguments in [
        &["revoke"][..],
        &["revoke", "--yes"],
        &["revoke", "--user", "", "--yes"],
        &["revoke", &id, "--user", "ada", "--yes"],
        &["revoke", ""],
    ] {
        assert_eq!(place.run(arguments).code, 2, "{arguments:?}");
    }
    assert_eq!(live(&place), 1);
}

/// [L14]
#[test]
fn a_mass_revocation_without_a_terminal_needs_yes() {
    let place = Place::new();
    place.id(&["--user", "ada"]);
    place.id(&["--user", "ada"]);
    assert_eq!(
        place.run(["revoke", "--user", "ada"]).refused(2),
        "end 2 sessions of ada? there is no terminal to ask on: add --yes to do it"
    );
    assert_eq!(live(&place), 2);
}

/// [L14] Only a clear yes is one.
#[test]
fn a_mass_revocation_asks_on_the_terminal() {
    let place = Place::new();
    for _ in 0..3 {
        place.id(&["--user", "ada"]);
    }
    place.sql("UPDATE sessions SET expires_at = '2020-01-01 00:00:00.000000' WHERE id = (SELECT min(id) FROM sessions)");
    for no in ["\n", "n\n", "nope\n", "yesterday\n", "\u{4}"] {
        let (code, shown) = on_a_terminal(&place, &["revoke", "--user", "ada"], no);
        assert_eq!(code, 1, "{shown}");
        assert!(shown.contains("end 2 sessions of ada, and remove 1 expired? [y/N] "), "{shown}");
        assert!(shown.contains("error: nothing was ended"), "{shown}");
    }
    assert_eq!(live(&place), 2);
    let (code, shown) = on_a_terminal(&place, &["revoke", "--user", "ada"], "y\n");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("ended 3 sessions of ada"), "{shown}");
    assert_eq!(live(&place), 0);
}

/// [L01]
#[test]
fn purge_removes_the_expired_and_keeps_the_live() {
    let place = Place::new();
    let id = place.id(&[]);
    let fill = || {
        place.sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO sessions \
             SELECT printf('%08x-0000-4000-8000-000000000000', i), NULL, '{}', NULL, '2020-01-01 00:00:00.000000', NULL FROM n",
        );
    };
    fill();
    let purged = place.run(["purge", "--json"]);
    assert_eq!(purged.err, "", "no progress bar without a terminal");
    let purged = purged.json();
    assert_eq!(purged["removed"], 2_500);
    assert!(purged["batches"].as_u64() > Some(1));
    assert_eq!(place.run(["purge"]).done(), "removed 0 expired sessions\n");
    assert_eq!(place.show(&id)["live"], true);
    fill();
    let (code, shown) = on_a_terminal(&place, &["purge"], "");
    assert_eq!(code, 0);
    assert!(shown.contains("removed 2500 expired sessions"), "{shown}");
}

/// Colour is for terminals, and not for those who do not want it.
#[test]
fn bold_heads_on_a_terminal_only() {
    let place = Place::new();
    place.id(&[]);
    let mark = "\u{1b}[1mid";
    assert!(!place.run(["list"]).done().contains('\u{1b}'));
    let (_, shown) = on_a_terminal(&place, &["list"], "");
    assert!(shown.contains(mark), "{shown:?}");
}
