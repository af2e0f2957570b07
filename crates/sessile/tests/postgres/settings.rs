//! What roles and databases are set to changes nothing that a statement means.

use std::time::Duration;

use sessile::store::{Outcome, PostgresStore, PurgeLimits, SessionStore, StoreError, Write};
use sessile_test_network::Proxy;
use tokio_postgres::{Client, NoTls};

use crate::cache::telling;
use crate::coherence::{read, service, session, warm};
use crate::postgres_server::{Schema, server, with_option};
use crate::support::{LATER, NOW, everything, id, insert, record, rotate, time, touch, until, update, user};

/// A role of its own, which may use the schema and nothing else.
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) schema: Schema,
}

const PASSWORD: &str = "hunter2";

impl Role {
    pub(crate) async fn new() -> Role {
        let schema = Schema::new().await;
        let name = schema.name.replace("sessile", "role");
        let role = Role { name, schema };
        role.sql(&format!("CREATE ROLE @ LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON SCHEMA # TO @")).await;
        role
    }

    /// As the superuser; `@` is the role, `#` the schema.
    pub(crate) async fn sql(&self, statements: &str) {
        let statements = statements.replace('@', &self.name).replace('#', &self.schema.name);
        self.schema.sql().await.batch_execute(&statements).await.unwrap();
    }

    /// The store URL of the table in its schema, without naming that.
    pub(crate) fn bare_url(&self) -> String {
        let (_, place) =
            server().rsplit_once('@').map(|(user, place)| (user.to_owned(), place.to_owned())).unwrap();
        with_option(
            &format!("postgres://{}:{PASSWORD}@{place}", self.name),
            &format!("application_name={}", self.name),
        )
    }

    pub(crate) fn url(&self) -> String {
        with_option(&self.bare_url(), &format!("schema={}", self.schema.name))
    }

    /// Another program's connection.
    async fn client(&self) -> Client {
        let (client, wire) = tokio_postgres::connect(&self.bare_url(), NoTls).await.unwrap();
        tokio::spawn(wire);
        client
    }

    pub(crate) async fn processes(&self) -> String {
        let all = "SELECT coalesce(string_agg(pid::text, ',' ORDER BY pid), '') FROM pg_stat_activity";
        self.schema.value(&format!("{all} WHERE application_name = '{}'", self.name)).await
    }

    /// Ends the role's connections.
    pub(crate) async fn kill(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '@'").await;
    }

    /// Removes the role, whose connections must be gone.
    pub(crate) async fn end(self) {
        self.kill().await;
        self.sql("DROP OWNED BY @; DROP ROLE @").await;
    }
}

/// Each kind of call, with data that is more than ASCII.
async fn works(store: &PostgresStore) {
    const DATA: &str = r#"{"k": "é 日本 \\ ' \u0000"}"#;
    store.check().await.unwrap();
    let made = vec![
        Write::Insert(record(1, Some("ada"), DATA)),
        Write::Insert(record(2, Some(&"x".repeat(36)), "{}")),
        insert(3),
    ];
    for outcome in store.apply_many(made).await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, Some("ada"), DATA)));
    let batch = vec![
        update(1, DATA, "{}"),
        touch(2, "2030-01-02 05:00:00", NOW),
        Write::Delete(id(9)),
        // Refused by the table, which ends neither the connection nor its neighbours.
        rotate(3, "{}", record(1, None, "{}")),
        rotate(3, "{}", record(4, Some("ada"), "{}")),
        insert(5),
    ];
    use Outcome::{Applied, Unmatched};
    let outcomes: Vec<_> = store.apply_many(batch).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [Applied, Applied, Unmatched, Unmatched, Applied, Applied]);
    assert_eq!(store.apply(touch(5, LATER, NOW)).await.unwrap(), Unmatched);
    assert_eq!(store.load(id(2)).await.unwrap().unwrap().expires_at(), time("2030-01-02 05:00:00"));
    assert_eq!(store.list(&everything(10)).await.unwrap().records.len(), 4);
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 4);
    assert_eq!(store.delete_user(&user("ada"), None).await.unwrap().len(), 2);
    let purged = store.purge(time("2030-01-02 04:30:00"), PurgeLimits::default()).await.unwrap();
    assert_eq!(purged.removed, [id(5)]);
    assert_eq!(store.apply(Write::Delete(id(2))).await.unwrap(), Applied);
    let theirs = store.clock().await.unwrap().unwrap();
    let ours = sessile::record::Clock::now(&sessile::record::SystemClock);
    let apart = ours.saturating_since(theirs).max(theirs.saturating_since(ours));
    assert!(apart < Duration::from_secs(600), "{theirs} and {ours}");
}

/// What an administrator, or an attacker with the right to set it, may have chosen.
const HOSTILE: [(&str, &str); 18] = [
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("statement_timeout", "1s"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("idle_session_timeout", "10s"),
    ("row_security", "off"),
    ("exit_on_error", "on"),
    ("standard_conforming_strings", "off"),
    ("client_encoding", "LATIN1"),
    ("DateStyle", "SQL, DMY"),
    ("TimeZone", "Asia/Tokyo"),
    ("extra_float_digits", "-15"),
    ("transform_null_equals", "on"),
    ("session_replication_role", "replica"),
    ("client_min_messages", "debug1"),
    ("synchronous_commit", "off"),
];

/// [R17] One by one, then all at once for the role in this database; on connections of ours, and with settings made
/// for each transaction.
#[tokio::test]
async fn no_setting_changes_what_a_statement_means() {
    let role = Role::new().await;
    // Policies count for the role; with row_security off each statement would be an error.
    let store = PostgresStore::connect(&role.schema.url()).await.unwrap();
    store.init().await.unwrap();
    role.sql(
        "GRANT ALL ON sessions TO @; ALTER TABLE sessions ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY every_row ON sessions USING (true) WITH CHECK (true)",
    )
    .await;
    let check = async |settings: &[(&str, &str)]| {
        for mode in ["", "&pooler=transaction"] {
            let store = PostgresStore::connect(&format!("{}{mode}", role.url())).await.unwrap();
            works(&store).await;
            println!("{settings:?} {mode}: works");
        }
    };
    for setting in HOSTILE {
        let (name, value) = setting;
        role.sql(&format!("ALTER ROLE @ SET {name} = {}", quoted(value))).await;
        if name != "client_encoding" {
            // It does count for a connection that sets nothing.
            let seen = role.client().await;
            let seen = seen.query_one("SELECT current_setting($1)", &[&name]).await.unwrap();
            assert_eq!(seen.get::<_, String>(0), value);
        }
        check(&[setting]).await;
        role.sql(&format!("ALTER ROLE @ RESET {name}")).await;
    }
    for (name, value) in HOSTILE {
        role.sql(&format!("ALTER ROLE @ IN DATABASE sessile SET {name} = {}", quoted(value))).await;
    }
    check(&HOSTILE).await;
    role.end().await;
}

/// As a value of ALTER ROLE: a list of words stays one.
fn quoted(value: &str) -> String {
    value.split(", ").map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

/// [R17] A table that somebody has locked is waited for, and a connection that does nothing stays.
#[tokio::test]
async fn time_limits_of_the_role_end_nothing() {
    let role = Role::new().await;
    role.sql(
        "ALTER ROLE @ SET statement_timeout = '1s'; ALTER ROLE @ SET lock_timeout = '1ms'; \
         ALTER ROLE @ SET idle_session_timeout = '2s'",
    )
    .await;
    for mode in ["", "&pooler=transaction"] {
        let store = PostgresStore::connect(&format!("{}{mode}", role.url())).await.unwrap();
        store.init().await.unwrap();
        store.apply(insert(1)).await.unwrap();
        let other = role.schema.sql().await;
        other.batch_execute("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let loading = tokio::spawn({
            let store = store.clone();
            async move { store.load(id(1)).await }
        });
        // Longer than these limits.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!loading.is_finished(), "{mode}");
        other.batch_execute("COMMIT").await.unwrap();
        assert!(loading.await.unwrap().unwrap().is_some(), "{mode}");
        if mode.is_empty() {
            let before = role.processes().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(role.processes().await, before, "a connection was ended for doing nothing");
        }
        store.apply(Write::Delete(id(1))).await.unwrap();
    }
    role.end().await;
}

/// [R17] Limits that are shorter than any pause between two messages: a connection is made, and stays.
#[tokio::test]
async fn time_limits_of_a_millisecond_end_no_connection() {
    let role = Role::new().await;
    let place = role.bare_url();
    let (_, place) = place.rsplit_once('@').unwrap();
    let (host, _) = place.split_once('/').unwrap();
    let server = tokio::net::lookup_host(host).await.unwrap().next().unwrap();
    let proxy = Proxy::to(server).await;
    proxy.dribble();
    let url = role.url().replace(host, &proxy.address.to_string());
    role.sql(
        "ALTER ROLE @ SET idle_session_timeout = '1ms'; \
         ALTER ROLE @ SET idle_in_transaction_session_timeout = '1ms'",
    )
    .await;
    for mode in ["", "&pooler=transaction"] {
        let store = PostgresStore::connect(&format!("{url}{mode}")).await.unwrap();
        store.init().await.unwrap();
        works(&store).await;
        store.apply(Write::Delete(id(1))).await.unwrap();
    }
    role.end().await;
}

/// [R17] The feed's triggers tell also where the role switches ordinary triggers off.
#[tokio::test]
async fn the_feed_tells_what_replicating_roles_do() {
    let role = Role::new().await;
    role.sql("ALTER ROLE @ SET session_replication_role = replica").await;
    let here = service(telling(&role.url()).await, Duration::from_secs(10)).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let elsewhere = PostgresStore::connect(&role.url()).await.unwrap();
    assert_eq!(elsewhere.apply(Write::Delete(credential.id())).await.unwrap(), Outcome::Applied);
    until(async || read(&here, &credential).await.is_none()).await;
    drop((here, elsewhere));
    role.end().await;
}

/// [R17] The name is looked up once: a search path that changes while the store runs leads no new connection to
/// another table.
#[tokio::test]
async fn an_unqualified_table_stays_the_same() {
    let role = Role::new().await;
    role.sql(
        "CREATE SCHEMA other_#; GRANT ALL ON SCHEMA other_# TO @; ALTER ROLE @ SET search_path = nowhere, #, other_#",
    )
    .await;
    let store = PostgresStore::connect(&role.bare_url()).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert_eq!(
        role.schema.value("SELECT count(*) FROM #.sessions".replace('#', &role.schema.name).as_str()).await,
        "1"
    );
    role.sql(
        "CREATE TABLE other_#.sessions (LIKE #.sessions INCLUDING ALL); GRANT ALL ON other_#.sessions TO @",
    )
    .await;
    role.sql("ALTER ROLE @ SET search_path = other_#, #").await;
    let before = role.processes().await;
    role.kill().await;
    until(async || {
        let now = role.processes().await;
        now.split(',').count() >= 5 && !now.split(',').any(|it| before.contains(it))
    })
    .await;
    until(async || store.load(id(1)).await.is_ok()).await;
    for _ in 0..4 {
        assert!(store.load(id(1)).await.unwrap().is_some());
    }
    until(async || store.apply(insert(2)).await.is_ok()).await;
    assert!(store.load(id(2)).await.unwrap().is_some());
    drop(store);
    // A store that is opened now means the other one; with a schema it does not matter.
    let other = PostgresStore::connect(&role.bare_url()).await.unwrap();
    assert!(other.load(id(1)).await.unwrap().is_none());
    let named = PostgresStore::connect(&role.url()).await.unwrap();
    assert!(named.load(id(1)).await.unwrap().is_some());
    drop((other, named));
    role.sql("DROP SCHEMA other_# CASCADE").await;
    role.end().await;
}

/// [R17] Functions and operators are the server's own, wherever the search path has others of the same name.
#[tokio::test]
async fn functions_that_hide_the_servers_own_are_passed_by() {
    let role = Role::new().await;
    role.sql(
        "CREATE FUNCTION #.never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
         CREATE OPERATOR #.= (LEFTARG = text, RIGHTARG = text, FUNCTION = #.never); \
         CREATE FUNCTION #.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT NULL::text WHERE false'; \
         CREATE FUNCTION #.set_config(text, text, bool) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'; \
         CREATE FUNCTION #.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'; \
         ALTER ROLE @ SET search_path = #, pg_catalog",
    )
    .await;
    for (url, mode) in [
        (role.bare_url(), ""),
        (role.url(), ""),
        (role.url(), "&pooler=transaction"),
        (role.bare_url(), "&pooler=transaction"),
    ] {
        let store = PostgresStore::connect(&format!("{url}{mode}")).await.unwrap();
        store.init().await.unwrap();
        works(&store).await;
    }
    role.end().await;
}

/// A search path that leads nowhere has no place for a table.
#[tokio::test]
async fn a_search_path_without_schemas_is_refused() {
    let role = Role::new().await;
    role.sql("ALTER ROLE @ SET search_path = nowhere").await;
    let error = PostgresStore::connect(&role.bare_url()).await.unwrap_err();
    let StoreError::Schema { problem, remedy } = &error else { panic!("{error}") };
    assert!(problem.contains("search_path") && remedy.contains("?schema="), "{error}");
    role.end().await;
}
