//! Updates that stay within their page and touch no index (heap-only tuples), as the server counts them.

use sessile::store::{Outcome, PostgresStore, SessionStore, StoreError, Write};

use sessile_test_servers::Postgres;

use crate::support::{NOW, record, touch, until, update};

const ROWS: u32 = 300;
/// Each row is changed so often, and renewed once.
const ROUNDS: u32 = 10;

fn data(round: u32) -> String {
    format!(r#"{{"round": {round}, "cart": "{}"}}"#, "x".repeat(1_000))
}

fn is_applied(done: Result<Outcome, StoreError>) -> bool {
    done.unwrap() == Outcome::Applied
}

/// On a table made by `init`: a change touches no index, whatever it writes, unless it moves the expiry. With a
/// renewal for every ten changes, nine updates of ten stay within their page.
#[tokio::test]
async fn only_renewals_touch_an_index() {
    // A server of its own: an open transaction of another test would keep old versions of rows in their pages.
    let server = Postgres::start().unwrap();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    let rows = (0..ROWS).map(|number| Write::Insert(record(number, None, &data(0)))).collect();
    assert!(store.apply_many(rows).await.into_iter().all(is_applied));
    for round in 0..ROUNDS {
        // Not in the order in which the rows lie.
        for number in (0..ROWS).map(|number| number * 7 % ROWS) {
            assert!(is_applied(store.apply(update(number, &data(round), &data(round + 1))).await));
        }
    }
    for number in 0..ROWS {
        assert!(is_applied(store.apply(touch(number, "2030-01-02 04:30:00", NOW)).await));
    }
    // What a connection did is counted at its end, at the latest.
    drop(store);
    let of_table = |count: &str| {
        server.query(&format!("SELECT {count} FROM pg_stat_user_tables WHERE relname = 'sessions'")).unwrap()
    };
    let updates = ROWS * ROUNDS + ROWS;
    until(async || of_table("n_tup_upd") == updates.to_string()).await;
    let hot: u32 = of_table("n_tup_hot_upd").parse().unwrap();
    let share = f64::from(hot) / f64::from(ROWS * ROUNDS);
    println!("{hot} of {} changes and {} renewals touched no index", ROWS * ROUNDS, ROWS);
    assert!(share > 0.9 && share <= 1.0, "{share}");
}
