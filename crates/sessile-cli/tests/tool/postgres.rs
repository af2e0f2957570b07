//! The tool on a real PostgreSQL.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sessile_test_servers::{POSTGRES, Postgres, shared_url};

use crate::doctor::{about, bad, examined};
use crate::support::{Place, Ran};

/// Statements through psql, as an administrator types them.
#[track_caller]
fn psql(url: &str, sql: &str) -> String {
    let mut command = std::process::Command::new(Postgres::psql().unwrap());
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
    command.args([url, "--command", sql]).env("PGOPTIONS", "-c client_min_messages=warning");
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
}

/// A schema and a role of its own in the server that the tests share, both gone when this is.
struct Tenant {
    server: String,
    name: String,
    place: Place,
}

impl Tenant {
    fn new() -> Tenant {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("doctor_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = shared_url(POSTGRES).unwrap();
        psql(&server, &format!("CREATE SCHEMA {name}; CREATE ROLE {name} LOGIN PASSWORD 'secret'"));
        Tenant { server, name, place: Place::empty() }
    }

    /// With an empty table that the role may use.
    fn with_table() -> Tenant {
        let tenant = Tenant::new();
        tenant.place.run(["init", "--store", &tenant.url()]).done();
        tenant.sql("GRANT USAGE ON SCHEMA @ TO @; GRANT SELECT, INSERT, UPDATE, DELETE ON @.sessions TO @");
        tenant
    }

    /// The administrator's URL.
    fn url(&self) -> String {
        format!("{}?schema={}", self.server, self.name)
    }

    /// The role's.
    fn role_url(&self) -> String {
        let place = self.server.rsplit_once('@').unwrap().1;
        format!("postgres://{0}:secret@{place}?schema={0}", self.name)
    }

    /// `@` is the name of the schema, and of the role.
    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        psql(&self.server, &sql.replace('@', &self.name))
    }

    #[track_caller]
    fn examined(&self) -> Vec<Value> {
        examined(self.place.run(["doctor", "--json", "--store", &self.role_url()]))
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sql(
                "SET client_min_messages = warning; DROP SCHEMA @ CASCADE; DROP OWNED BY @; DROP ROLE @",
            );
        }
    }
}

/// [R07] [S14]
#[test]
fn a_server_as_it_comes_is_good_and_nothing_is_left_behind() {
    let tenant = Tenant::with_table();
    // What is deleted would stay: only the end of the transaction takes it away.
    let findings = tenant.examined();
    assert_eq!(bad(&findings), [""; 0]);
    for subject in [
        "server",
        "connections",
        "clock",
        "table",
        "indexes",
        "privileges",
        "writing",
        "synchronous_commit",
        "fsync",
        "full_page_writes",
        "autovacuum",
        "replication",
    ] {
        about(&findings, subject);
    }
    tenant.sql(
        "CREATE FUNCTION @.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER keep BEFORE DELETE ON @.sessions FOR EACH ROW EXECUTE FUNCTION @.keep()",
    );
    tenant.examined();
    assert_eq!(tenant.sql("SELECT count(*) FROM @.sessions"), "0");
    let told = tenant.place.run(["doctor", "--store", &tenant.role_url()]);
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
}

#[test]
fn each_missing_right_is_named_with_what_it_stops() {
    for (right, stops) in [
        ("SELECT", "No session can be read"),
        ("INSERT", "Nobody can sign in"),
        ("UPDATE", "No session can be changed"),
        ("DELETE", "Nobody can sign out"),
    ] {
        let tenant = Tenant::with_table();
        tenant.sql(&format!("REVOKE {right} ON @.sessions FROM @"));
        let findings = tenant.examined();
        assert_eq!(bad(&findings), ["wrong privileges"], "{right}");
        let privileges = about(&findings, "privileges");
        assert_eq!(privileges["seen"], format!("no right to {right}"));
        assert!(privileges["meaning"].as_str().unwrap().starts_with(stops), "{privileges}");
        assert!(privileges["remedy"].as_str().unwrap().contains(&format!("GRANT {right} ON ")));
    }
    let tenant = Tenant::with_table();
    tenant.sql("REVOKE USAGE ON SCHEMA @ FROM @");
    assert_eq!(bad(&tenant.examined()), ["wrong table"]);
}

#[test]
fn hidden_rows_are_wrong() {
    let tenant = Tenant::with_table();
    tenant.sql("ALTER TABLE @.sessions ENABLE ROW LEVEL SECURITY");
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["wrong privileges"]);
}

/// [R06] As the service's own role has it, whoever else has it otherwise.
#[test]
fn a_commit_that_does_not_wait_is_wrong() {
    let tenant = Tenant::with_table();
    tenant.sql("ALTER ROLE @ SET synchronous_commit = off");
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["wrong synchronous_commit"]);
    let found = about(&findings, "synchronous_commit");
    assert_eq!(found["seen"], "off, set for this role");
    assert!(found["meaning"].as_str().unwrap().ends_with("somebody who signed out is signed in again."));
    // The remedy, as it is printed, is one.
    let remedy = found["remedy"].as_str().unwrap().split(',').next().unwrap();
    tenant.sql(remedy);
    assert_eq!(bad(&tenant.examined()), [""; 0]);
    // Set anew for each connection of ours.
    tenant.sql("ALTER ROLE @ SET default_transaction_read_only = on");
    assert_eq!(bad(&tenant.examined()), [""; 0]);
}

#[test]
fn a_missing_or_broken_index_is_a_note() {
    let tenant = Tenant::with_table();
    tenant.sql("DROP INDEX @.ix_sessions_user_id");
    assert_eq!(about(&tenant.examined(), "indexes")["seen"], "none on user_id");
    tenant.sql(
        "DROP INDEX @.ix_sessions_expires_at; CREATE INDEX a ON @.sessions (data, expires_at); \
         CREATE INDEX b ON @.sessions (expires_at) WHERE user_id IS NULL",
    );
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["note indexes"]);
    assert_eq!(about(&findings, "indexes")["seen"], "none on user_id, none on expires_at");
    tenant.place.run(["init", "--store", &tenant.url()]).done();
    assert_eq!(bad(&tenant.examined()), [""; 0]);
}

/// The remedy of each, executed as it is printed, puts it right.
#[test]
fn columns_that_keep_less_are_named_and_their_remedy_helps() {
    let faults = [
        ("ALTER data TYPE varchar(4000)", "note", "data is character varying(4000)"),
        ("ALTER expires_at TYPE timestamp(0)", "note", "expires_at is timestamp(0) without time zone"),
        ("ALTER created_at TYPE timestamptz", "note", "created_at is timestamp with time zone"),
        ("ALTER id TYPE varchar(32)", "wrong", "id is character varying(32)"),
    ];
    for (fault, verdict, seen) in faults {
        let tenant = Tenant::with_table();
        tenant.sql(&format!("ALTER TABLE @.sessions {fault}"));
        let findings = tenant.examined();
        let table = about(&findings, "table");
        assert_eq!((&table["verdict"], &table["seen"]), (&verdict.into(), &seen.into()));
        tenant.sql(table["remedy"].as_str().unwrap());
        assert_eq!(bad(&tenant.examined()), [""; 0], "{fault}");
    }
    let tenant = Tenant::with_table();
    // A UUID, an address: [F04]
    for (length, verdict) in
        [(20, "wrong user_id"), (35, "wrong user_id"), (36, "note user_id"), (254, "note user_id")]
    {
        tenant.sql(&format!("ALTER TABLE @.sessions ALTER user_id TYPE varchar({length})"));
        let findings = tenant.examined();
        assert_eq!(bad(&findings), [verdict], "{length}");
        let user = about(&findings, "user_id");
        assert_eq!(user["seen"], format!("user_id is character varying({length})"));
        tenant.sql(user["remedy"].as_str().unwrap());
        assert_eq!(bad(&tenant.examined()), [""; 0], "{length}");
    }
    for wide in ["varchar(255)", "varchar(500)", "varchar", "text"] {
        tenant.sql(&format!("ALTER TABLE @.sessions ALTER user_id TYPE {wide}"));
        assert_eq!(bad(&tenant.examined()), [""; 0], "{wide}");
    }
    let tenant = Tenant::with_table();
    tenant.sql(
        "CREATE COLLATION @.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         ALTER TABLE @.sessions ALTER data TYPE text COLLATE @.nocase",
    );
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["wrong table"]);
    tenant.sql(about(&findings, "table")["remedy"].as_str().unwrap());
    assert_eq!(bad(&tenant.examined()), [""; 0]);
}

#[test]
fn how_the_table_is_kept() {
    let tenant = Tenant::with_table();
    tenant.sql("ALTER TABLE @.sessions SET UNLOGGED; ALTER TABLE @.sessions SET (autovacuum_enabled = off)");
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["note unlogged", "wrong autovacuum"]);
}

/// An anonymous session has no user.
#[test]
fn a_row_that_the_table_refuses_is_said() {
    let tenant = Tenant::with_table();
    tenant.sql("ALTER TABLE @.sessions ALTER user_id SET NOT NULL");
    let findings = tenant.examined();
    assert_eq!(bad(&findings), ["wrong writing"]);
    assert!(about(&findings, "writing")["seen"].as_str().unwrap().contains("user_id"), "{findings:?}");
}

/// What only an administrator of the server can set. [R06]
#[test]
fn a_server_that_forgets_is_wrong() {
    let off = [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("autovacuum", "off"),
        ("synchronous_commit", "off"),
        ("synchronous_standby_names", "*"),
    ];
    let server = Postgres::start_with(&off).unwrap();
    let place = Place::empty();
    place.run(["init", "--store", &server.url()]).done();
    let findings = examined(place.run(["doctor", "--json", "--store", &server.url()]));
    assert_eq!(
        bad(&findings),
        [
            "wrong synchronous_commit",
            "wrong fsync",
            "wrong full_page_writes",
            "wrong autovacuum",
            "note replication"
        ]
    );
    assert_eq!(about(&findings, "fsync")["seen"], "off, set for the whole server");
    let told = place.run(["doctor", "--store", &server.url()]);
    assert!(told.out.contains("\nWRONG  fsync: off"), "{told:?}");
}

/// What `init --sql` prints, psql makes a table of that all is good with.
#[test]
fn the_sql_of_init_is_what_psql_executes() {
    for options in ["", "&table=web%20%22sessions%22"] {
        let tenant = Tenant::new();
        let url = tenant.url() + options;
        let ran: Ran = tenant.place.run(["init", "--sql", "--store", &url]);
        let sql = ran.done();
        psql(&tenant.server, &sql);
        let findings = examined(tenant.place.run(["doctor", "--json", "--store", &url]));
        assert_eq!(bad(&findings), [""; 0], "{sql}");
        // And a second time, as migrations are.
        psql(&tenant.server, &sql);
        assert_eq!(tenant.sql("SELECT count(*) FROM pg_indexes WHERE schemaname = '@'"), "3");
    }
}

/// [R08] As on SQLite: each row that is none, and no other.
#[test]
fn verify_reads_every_row() {
    let tenant = Tenant::with_table();
    tenant.sql(
        "INSERT INTO @.sessions (id, data, created_at, expires_at) VALUES \
         ('00000000-0000-4000-8000-000000000001', '{}', now(), now()), \
         ('00000000-0000-4000-8000-000000000002', '{\"secret', now(), now()), \
         ('00000000-0000-4000-8000-000000000003', NULL, NULL, 'infinity'), \
         ('secret no more', '{}', now(), now()), \
         ('00000000-0000-4000-8000-000000000005', '{}', '12000-01-01', now())",
    );
    let ran = tenant.place.run(["verify", "--store", &tenant.role_url()]);
    assert_eq!((ran.code, &*ran.err), (1, "error: 4 of 5 rows are not as they should be\n"));
    assert!(!ran.out.contains("{\"secret"), "{ran:?}");
    for said in [
        "0002  session data is not JSON",
        "0003  created_at is NULL",
        "secret no more  id is another text",
        "0005  created_at is out of range",
    ] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
}
