//! What stands in Redis, byte for byte; what others wrote there; what is sent.

use redis::Commands;
use sessile::record::{Columns, SessionRecord, StoredData};
use sessile::store::{
    Expiry, ListQuery, Outcome, PurgeLimits, RedisStore, SessionStore, StoreError, Touch, Update, Write,
};
use sessile_test_servers::Redis;

use crate::redis_server::{Kind, Prefix, connection, server};
use crate::support::{LATER, NOW, everything, id, insert, listed, record, rotate, time, update, user};

/// One server, a store on it, and another program's connection.
async fn opened() -> (Prefix, RedisStore, redis::Connection) {
    let prefix = Prefix::new(Kind::Single);
    let store = RedisStore::connect(&prefix.url()).await.unwrap();
    let other = connection(&server(Kind::Single));
    (prefix, store, other)
}

fn key(prefix: &Prefix, number: u32) -> String {
    let id = id(number).to_string();
    format!("{}{{{}}}:{id}", prefix.name, &id[..2])
}

#[tokio::test]
async fn a_row_is_a_hash_with_the_columns() {
    let (prefix, store, mut other) = opened().await;
    store.apply(Write::Insert(record(1, Some("ada"), "{\"é\": 1}"))).await.unwrap();
    let key = key(&prefix, 1);
    let mut fields: Vec<(String, String)> =
        other.hgetall::<_, std::collections::BTreeMap<_, _>>(&key).unwrap().into_iter().collect();
    fields.sort();
    let wanted = [
        ("created_at", NOW),
        ("data", "{\"é\": 1}"),
        ("expires_at", LATER),
        ("updated_at", NOW),
        ("user_id", "ada"),
    ];
    assert_eq!(fields, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let day = 24 * 60 * 60 * 1_000_000;
    let end: i64 = redis::cmd("PEXPIRETIME").arg(&key).query(&mut other).unwrap();
    assert_eq!(end, (time(LATER).as_micros() + day) / 1_000);
    let later = Touch { id: id(1), expires_at: time("2095-05-05"), now: time(NOW).into() };
    store.apply(Write::Touch(later)).await.unwrap();
    let end: i64 = redis::cmd("PEXPIRETIME").arg(&key).query(&mut other).unwrap();
    assert_eq!(end, (time("2095-05-05").as_micros() + day) / 1_000);
    store.apply(Write::Delete(id(1))).await.unwrap();
    assert_eq!(prefix.keys(), Vec::<String>::new());
}

/// [R08] A row that somebody else wrote, and wrote wrongly: told, and passed by.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_and_passed_by() {
    for (number, field, value) in [
        (1, "expires_at", &b"2090-01-02T04:00:00Z"[..]),
        (2, "created_at", b"yesterday"),
        (3, "user_id", b"\xff"),
        (4, "expires_at", b""),
    ] {
        let (prefix, store, mut other) = opened().await;
        store.apply(insert(number)).await.unwrap();
        store.apply(insert(9)).await.unwrap();
        let () = other.hset(key(&prefix, number), field, value).unwrap();
        let error = store.load(id(number)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Malformed(row) if row.id == id(number).to_string()), "{error}");
        assert!(error.to_string().contains(field) && !error.to_string().contains("yesterday"), "{error}");
        assert!(store.load_many(&[id(number), id(9)]).await[1].as_ref().unwrap().is_some());
        let page = store.list(&everything(10_000)).await.unwrap();
        assert_eq!((page.records.len(), page.malformed.len()), (1, 1));
        let small = ListQuery { limit: 1, ..everything(10_000) };
        let first = store.list(&small).await.unwrap();
        let second = store.list(&ListQuery { after: first.next, ..small }).await.unwrap();
        assert_eq!(first.records.len() + second.records.len(), 1);
        assert!(second.next.is_none());
        store.stats(time(NOW)).await.unwrap();
        assert_eq!(store.apply(Write::Delete(id(number))).await.unwrap(), Outcome::Applied);
        assert!(store.load(id(number)).await.unwrap().is_none());
    }
}

/// [R08]
#[tokio::test]
async fn a_key_that_is_no_hash_harms_nobody() {
    let (prefix, store, mut other) = opened().await;
    store.apply(insert(1)).await.unwrap();
    store.apply(insert(2)).await.unwrap();
    let () = other.del(key(&prefix, 1)).unwrap();
    let () = other.set(key(&prefix, 1), "text").unwrap();
    assert!(matches!(store.load(id(1)).await.unwrap_err(), StoreError::Malformed(_)));
    let outcomes = store.apply_many(vec![update(1, "{}", "[]"), update(2, "{}", "[]")]).await;
    assert!(outcomes[0].is_err() && matches!(outcomes[1], Ok(Outcome::Applied)));
    let page = store.list(&everything(10_000)).await.unwrap();
    assert_eq!((page.records.len(), page.malformed.len()), (1, 1));
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 1);
}

/// [R08] [K01] Data in no encoding: kept, compared, and replaced.
#[tokio::test]
async fn data_that_is_no_text_is_bytes() {
    let (prefix, store, mut other) = opened().await;
    store.apply(insert(1)).await.unwrap();
    let () = other.hset(key(&prefix, 1), "data", &b"{\xff\0}"[..]).unwrap();
    let row = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!(row.stored_data(), &StoredData::InvalidText(b"{\xff\0}"[..].into()));
    let replace = |expected| {
        Write::Update(Update {
            id: id(1),
            expected,
            data: "{}".into(),
            user_id: None,
            expires_at: Expiry::Keep,
            now: time(NOW).into(),
        })
    };
    for other in [StoredData::Null, StoredData::InvalidText(b"{\xff\x01}"[..].into()), StoredData::empty()] {
        assert_eq!(store.apply(replace(other)).await.unwrap(), Outcome::Unmatched);
    }
    let bytes = StoredData::Bytes(b"{\xff\0}"[..].into());
    assert_eq!(store.apply(replace(bytes)).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.apply(replace(row.stored_data().clone())).await.unwrap(), Outcome::Applied);
    let nul = record(2, None, "{\"a\": \"\0\"}");
    store.apply(Write::Insert(nul.clone())).await.unwrap();
    assert_eq!(store.load(id(2)).await.unwrap(), Some(nul));
}

/// Redis removes a key by itself, a day after its session or to make room: no index is the worse for it.
#[tokio::test]
async fn what_redis_removes_leaves_the_indexes() {
    for kind in [Kind::Single, Kind::Cluster] {
        let prefix = Prefix::new(kind);
        let store = RedisStore::connect(&prefix.url()).await.unwrap();
        let over = |number| {
            SessionRecord::from_columns(Columns {
                id: id(number),
                user_id: Some(user("ada")),
                data: StoredData::empty(),
                created_at: None,
                expires_at: time("2020-01-01"),
                updated_at: None,
            })
        };
        // So long over that Redis removes the keys at once.
        store.apply(Write::Insert(over(1))).await.unwrap();
        store.apply(Write::Insert(record(2, Some("ada"), "{}"))).await.unwrap();
        assert!(store.load(id(1)).await.unwrap().is_none());
        assert!(prefix.keys().len() > 4, "{:?}", prefix.keys());
        assert_eq!(listed(&store, Some("ada")).await, [id(2)]);
        assert_eq!(listed(&store, None).await, [id(2)]);
        assert_eq!(store.stats(time(NOW)).await.unwrap().live, 1);
        assert_eq!(prefix.keys().len(), 4, "a row, its two indexes, its user: {:?}", prefix.keys());

        store.apply(Write::Insert(over(3))).await.unwrap();
        let batch = store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
        assert!(batch.removed.is_empty() && !batch.more);
        assert_eq!(store.delete_user(&user("ada"), None).await.unwrap(), [id(2)]);
    }
}

/// Members that are no ids, by hand or by another program.
#[tokio::test]
async fn foreign_members_of_an_index_are_passed_by() {
    let (prefix, store, mut other) = opened().await;
    for number in 1..30 {
        store.apply(Write::Insert(record(number, Some("ada"), "{}"))).await.unwrap();
    }
    for bucket in ["00", "7f", "ff"] {
        for member in ["", "0", "{", "zebra", "7f"] {
            let () = other.zadd(format!("{}{{{bucket}}}:ids", prefix.name), member, 0).unwrap();
        }
    }
    let () = other.zadd(format!("{}user:{{ada}}", prefix.name), "zebra", 0).unwrap();
    for limit in [1, 2, 7, 100] {
        let (mut ids, mut query) = (Vec::new(), ListQuery { limit, ..everything(10_000) });
        loop {
            let page = store.list(&query).await.unwrap();
            ids.extend(page.records.iter().map(SessionRecord::id));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(ids.len(), 29);
    }
    assert_eq!(listed(&store, Some("ada")).await.len(), 29);
    assert_eq!(store.delete_user(&user("ada"), None).await.unwrap().len(), 29);
}

/// [F07] [F08] What the module says about commands.
#[tokio::test]
async fn each_call_takes_the_commands_that_it_says() {
    let server = Redis::start().unwrap();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let insert_for = |number| Write::Insert(record(number, Some("ada"), "{}"));
    // The first time of a script is another command.
    store.apply_many((0..100).map(insert_for).collect()).await;
    store.apply(update(0, "{}", "{}")).await.unwrap();
    store.apply(rotate(0, "{}", record(200, Some("ada"), "{}"))).await.unwrap();
    store.delete_user(&user("nobody"), None).await.unwrap();
    let sent = || {
        let told = server.command(&["INFO", "commandstats"]).unwrap();
        server.command(&["CONFIG", "RESETSTAT"]).unwrap();
        let calls = |name: &str| {
            let line = told.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
            line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap())
        };
        // `hmget` counts those inside scripts, too.
        (calls("evalsha"), calls("hmget"), calls("eval"))
    };
    sent();
    store.load(id(1)).await.unwrap();
    assert_eq!(sent(), (0, 1, 0));
    store.load_many(&[id(1), id(2), id(3)]).await;
    assert_eq!(sent(), (0, 3, 0));
    store.apply(update(1, "{}", "[]")).await.unwrap();
    assert_eq!(sent(), (1, 1, 0));
    store.apply(rotate(1, "[]", record(201, Some("ada"), "{}"))).await.unwrap();
    assert_eq!(sent(), (1, 1, 0));
    store.apply_many((300..310).map(insert_for).collect()).await;
    assert_eq!(sent(), (10, 0, 0));
    store.delete_user(&user("ada"), None).await.unwrap();
    assert_eq!(sent(), (1, 0, 0));
    // The script's first time, then what it looks at; `purge.rs` has more.
    for (number, sends) in [(400, (1, 1, 1)), (401, (1, 1, 0))] {
        store.apply(insert(number)).await.unwrap();
        sent();
        store.purge(time(LATER), PurgeLimits::default()).await.unwrap();
        assert_eq!(sent(), sends);
    }
    store.purge(time(LATER), PurgeLimits::default()).await.unwrap();
    assert_eq!(sent(), (0, 0, 0));
}
