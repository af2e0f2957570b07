//! A primary of a Cluster is killed under load: what was acknowledged and is lost, and what holds all the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sessile::record::SessionId;
use sessile::store::{Outcome, PurgeLimits, RedisStore, SessionStore, StoreError, Touch, Write};
use sessile_test_servers::{Redis, RedisCluster};

use crate::support::{NOW, id, insert, listed, record, rotate, time, until, update, user};

/// Callers at once, each with a user of their own.
const CALLERS: u32 = 16;
/// How long they go on before the kill, and after the recovery.
const CALM: Duration = Duration::from_secs(2);
/// How long a primary acknowledges what its replica does not receive.
const ALONE: Duration = Duration::from_millis(500);

/// What ends the story of a session: one in three each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stays,
    LoggedOut,
    Rotated,
}

/// A session from its sign-in on: inserted with `0`, changed to `1`, then rotated to another id with `2`, or
/// logged out, or left.
struct Story {
    number: u32,
    owner: String,
    end: End,
    /// Steps that were acknowledged.
    acknowledged: usize,
    /// Whether the next one was an error, and so may be made or not.
    unsure: bool,
}

impl Story {
    fn id(&self) -> SessionId {
        id(2 * self.number)
    }

    fn moved(&self) -> SessionId {
        id(2 * self.number + 1)
    }

    fn steps(&self) -> Vec<Write> {
        let (old, owner) = (2 * self.number, Some(&*self.owner));
        let mut steps = vec![Write::Insert(record(old, owner, "0")), update(old, "0", "1")];
        match self.end {
            End::Stays => {}
            End::LoggedOut => steps.push(Write::Delete(self.id())),
            End::Rotated => steps.push(rotate(old, "1", record(old + 1, owner, "2"))),
        }
        steps
    }

    /// What is there after so many steps: the data under both ids.
    fn after(&self, steps: usize) -> [Option<&'static str>; 2] {
        match (steps, self.end) {
            (0, _) => [None, None],
            (1, _) => [Some("0"), None],
            (2, _) | (_, End::Stays) => [Some("1"), None],
            (_, End::LoggedOut) => [None, None],
            (_, End::Rotated) => [None, Some("2")],
        }
    }

    /// Makes the steps until one fails; every failure says that it may be tried again.
    async fn tell(&mut self, store: &RedisStore, errors: &mut usize) {
        for write in self.steps() {
            match store.apply(write).await {
                Ok(Outcome::Applied) => self.acknowledged += 1,
                // What was acknowledged before is lost already.
                Ok(Outcome::Unmatched) => return,
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    (self.unsure, *errors) = (true, *errors + 1);
                    return;
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    stories: usize,
    acknowledged: usize,
    errors: usize,
    /// Sessions that are what was acknowledged last.
    kept: usize,
    /// Sign-ins and changes that were acknowledged and are gone.
    lost: usize,
    /// Acknowledged logouts whose session is alive.
    logouts_forgotten: usize,
    /// Acknowledged rotations whose old session is alive, too.
    rotations_forgotten: usize,
    /// Live sessions that ending all of their user's did not find.
    missed: usize,
}

async fn caller(store: RedisStore, number: u32, stop: Arc<AtomicBool>) -> (Vec<Story>, usize) {
    let (mut stories, mut errors) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let told = stories.len() as u32;
        let mut story = Story {
            number: told * CALLERS + number,
            owner: format!("user-{number}"),
            end: [End::Stays, End::LoggedOut, End::Rotated][(told % 3) as usize],
            acknowledged: 0,
            unsure: false,
        };
        story.tell(&store, &mut errors).await;
        stories.push(story);
    }
    (stories, errors)
}

/// Whether the server that is to be killed has these keys.
struct Killed(HashSet<u16>);

impl Killed {
    fn has(&self, cluster: &RedisCluster, tag: &str) -> bool {
        let slot = cluster.nodes().iter().find_map(|node| node.command(&["CLUSTER", "KEYSLOT", tag]).ok());
        self.0.contains(&slot.unwrap().parse().unwrap())
    }

    fn has_row(&self, cluster: &RedisCluster, id: SessionId) -> bool {
        self.has(cluster, &format!("{{{}}}", &id.to_string()[..2]))
    }
}

/// The slots of the primary that serves the slot 0.
fn slots(cluster: &RedisCluster) -> Killed {
    let primary = cluster.primary_of(0).unwrap();
    let nodes = primary.command(&["CLUSTER", "NODES"]).unwrap();
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
    let ranges = own.split(' ').skip(8).map(|range| range.split_once('-').unwrap_or((range, range)));
    let ranges = ranges.map(|(from, to)| (from.parse::<u16>().unwrap(), to.parse::<u16>().unwrap()));
    Killed(ranges.flat_map(|(from, to)| from..=to).collect())
}

/// Judges a story by what is there now.
async fn judge(story: &Story, store: &RedisStore, count: &mut Count, killed: impl Fn(SessionId) -> bool) {
    let mut there = Vec::new();
    for id in [story.id(), story.moved()] {
        there.push(store.load(id).await.unwrap().map(|row| row.stored_data().as_text().unwrap().to_owned()));
    }
    let there = [there[0].as_deref(), there[1].as_deref()];
    count.acknowledged += story.acknowledged;
    let next = story.acknowledged + usize::from(story.unsure);
    if there == story.after(story.acknowledged) || there == story.after(next) {
        count.kept += 1;
        return;
    }
    // Only the server that was killed forgets, and no session is anything that nobody ever wrote.
    assert!(killed(story.id()) || killed(story.moved()), "{there:?} of {:?} after {next}", story.end);
    let old_is_known = there[0].is_none_or(|data| data == "0" || data == "1");
    assert!(old_is_known && there[1].is_none_or(|data| data == "2" && story.end == End::Rotated));
    match (story.end, there) {
        (End::LoggedOut, [Some(_), _]) if story.acknowledged == 3 => count.logouts_forgotten += 1,
        (End::Rotated, [Some(_), Some(_)]) => {
            assert!(killed(story.id()), "both alive, and the old one's server forgot nothing");
            count.rotations_forgotten += 1;
        }
        _ => count.lost += 1,
    }
}

fn replica_of<'a>(cluster: &'a RedisCluster, primary: &Redis) -> &'a Redis {
    let role = primary.command(&["ROLE"]).unwrap();
    let is_named = |node: &&Redis| role.lines().any(|it| it == node.port().to_string());
    cluster.nodes().iter().find(is_named).unwrap()
}

/// Lets the primary go on without its replica, which will take its place all the same.
async fn cut_off(cluster: &RedisCluster, primary: &Redis) {
    let replica = replica_of(cluster, primary);
    replica.pause().unwrap();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    tokio::time::sleep(ALONE).await;
    primary.kill().unwrap();
    replica.resume().unwrap();
}

/// [R01] [R12] [R13] Errors while it is down, service again by itself, and no session that nobody wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_is_killed_under_load() {
    let count = kill_under_load(false).await;
    assert!(count.kept * 10 > count.stories * 9, "{count:?}");
}

/// [R12] [R13] What it acknowledged without its replica is forgotten, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_is_killed_that_its_replica_does_not_follow() {
    let count = kill_under_load(true).await;
    assert!(count.kept < count.stories, "nothing was forgotten: the replica followed all the same");
    assert!(count.kept * 2 > count.stories, "{count:?}");
}

async fn kill_under_load(alone: bool) -> Count {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap().unwrap();
    let store = RedisStore::options().timeout(Duration::from_secs(2)).connect(&cluster.url()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> =
        (0..CALLERS).map(|number| tokio::spawn(caller(store.clone(), number, Arc::clone(&stop)))).collect();
    tokio::time::sleep(CALM).await;

    let killed = slots(&cluster);
    let primary = cluster.primary_of(0).unwrap();
    if alone {
        cut_off(&cluster, primary).await
    } else {
        primary.kill().unwrap()
    }
    let down = Instant::now();
    // Another one takes its slots, and every bucket can be written again.
    for bucket in 0..=255u32 {
        until(async || {
            store
                .apply(insert(4_000_000_000 + bucket))
                .await
                .inspect_err(|e| assert!(e.is_transient()))
                .is_ok()
        })
        .await;
    }
    let down = down.elapsed();
    tokio::time::sleep(CALM).await;
    primary.restart().unwrap();
    cluster.wait_until_healthy().unwrap();
    tokio::time::sleep(CALM).await;
    stop.store(true, Ordering::Relaxed);

    let (mut count, mut stories) = (Count::default(), Vec::new());
    for caller in callers {
        let (told, errors) = caller.await.unwrap();
        stories.extend(told);
        count.errors += errors;
    }
    count.stories = stories.len();
    let killed_row = |id| killed.has_row(&cluster, id);
    for story in &stories {
        judge(story, &store, &mut count, killed_row).await;
    }
    for number in 0..CALLERS {
        let owner = format!("user-{number}");
        store.delete_user(&user(&owner), None).await.unwrap();
        assert_eq!(listed(&store, Some(&owner)).await, []);
    }
    for story in &stories {
        for id in [story.id(), story.moved()] {
            if store.load(id).await.unwrap().is_some() {
                let index = format!("{{{}}}", story.owner);
                assert!(killed.has(&cluster, &index), "missed, and its user's server forgot nothing");
                count.missed += 1;
            }
        }
    }
    let how = if alone { ", cut off from its replica," } else { "" };
    // A renewal enters what the index has forgotten.
    for story in &stories {
        for id in [story.id(), story.moved()] {
            let renewal = Touch { id, expires_at: time("2095-01-01"), now: time(NOW).into() };
            store.apply(Write::Touch(renewal)).await.unwrap();
        }
    }
    for number in 0..CALLERS {
        store.delete_user(&user(&format!("user-{number}")), None).await.unwrap();
    }
    for story in &stories {
        let left = store.load_many(&[story.id(), story.moved()]).await;
        assert!(left.into_iter().all(|row| row.unwrap().is_none()), "a renewed session was missed");
    }
    println!("a primary{how} was killed; after {down:?} all was served again; {count:?}");
    assert!(count.errors > 0, "nobody noticed: the kill came too late");
    assert!(count.stories > 200, "{count:?}");
    count
}

/// Rows in the slots of this server, and rows in those of others.
fn rows_by_server(cluster: &RedisCluster, hanging: &Killed) -> (Vec<u32>, Vec<u32>) {
    (0..64).partition(|&number| hanging.has_row(cluster, id(number)))
}

/// [R18] A node that hangs costs the sessions in its own slots, and no others: reads, writes, the end of a
/// user's sessions, the purge.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_hangs_costs_only_its_slots() {
    // No replica takes its place.
    let settings = &[("cluster-node-timeout", "60000")];
    let cluster =
        tokio::task::spawn_blocking(move || RedisCluster::start_with(settings)).await.unwrap().unwrap();
    let store = RedisStore::options().timeout(Duration::from_secs(2)).connect(&cluster.url()).await.unwrap();
    let hanging = slots(&cluster);
    let owner = ["ada", "bob", "cyd", "dan", "eve", "fay"];
    let owner = owner.into_iter().find(|name| !hanging.has(&cluster, &format!("{{{name}}}"))).unwrap();
    let (lost, live) = rows_by_server(&cluster, &hanging);
    for number in 0..64 {
        store.apply(Write::Insert(record(number, Some(owner), "{}"))).await.unwrap();
    }
    let primary = cluster.primary_of(0).unwrap();
    primary.pause().unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let waiting: Vec<_> = (0..8)
        .map(|first| {
            let (store, stop, lost) = (store.clone(), Arc::clone(&stop), lost.clone());
            tokio::spawn(async move {
                let (mut numbers, mut failed) = (lost.into_iter().cycle().skip(first), 0);
                while !stop.load(Ordering::Relaxed) {
                    let error = store.load(id(numbers.next().unwrap())).await.unwrap_err();
                    assert!(error.is_transient(), "{error}");
                    failed += 1;
                }
                failed
            })
        })
        .collect();
    let (began, mut worst, mut done) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < Duration::from_secs(8) {
        for &number in &live {
            let one = Instant::now();
            store.load(id(number)).await.unwrap();
            assert_eq!(store.apply(update(number, "{}", "{}")).await.unwrap(), Outcome::Applied);
            (worst, done) = (worst.max(one.elapsed()), done + 2);
        }
    }
    println!("{done} requests to the others; the slowest pair took {worst:?}");
    let error = store.delete_user(&user(owner), None).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::PartlyDeleted { deleted, pending, .. }
            if deleted.len() == live.len() && *pending == lost.len()),
        "{error}"
    );
    for &number in &live {
        assert_eq!(store.load(id(number)).await.unwrap(), None);
        store.apply(insert(number)).await.unwrap();
    }
    let began = Instant::now();
    let mut removed = 0;
    // Each call removes what it finds in its time, at least a row of a bucket that it can reach.
    for _ in 0..live.len() {
        // What it could not reach is an error when nothing else was left.
        let batch = store.purge(time("2099-01-01"), PurgeLimits::default()).await;
        removed += batch.map_or(0, |batch| batch.removed.len());
    }
    println!("beside it, {} calls removed {removed} rows in {:?}", live.len(), began.elapsed());
    assert_eq!(removed, live.len());
    // A wait for each look at its buckets would be a second each.
    assert!(began.elapsed() < Duration::from_secs(20), "each look at its buckets waited for it");
    stop.store(true, Ordering::Relaxed);
    for failed in waiting {
        assert!(failed.await.unwrap() > 0);
    }
    primary.resume().unwrap();
    let began = Instant::now();
    until(async || store.delete_user(&user(owner), None).await.is_ok()).await;
    println!("{:?} after it went on, all sessions of its user were ended", began.elapsed());
    let all: Vec<_> = (0..1024).map(id).collect();
    assert!(all.iter().any(|&id| hanging.has_row(&cluster, id)));
    for row in store.load_many(&all).await {
        assert_eq!(row.unwrap(), None);
    }
    for bucket in 0..=255 {
        assert_eq!(store.apply(insert(5_000_000 + bucket)).await.unwrap(), Outcome::Applied);
    }
}

/// [R13] A failover that is asked for, with the old primary's consent: no request fails, though hundreds at once
/// are sent elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_is_asked_for_costs_no_request() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap().unwrap();
    let store = RedisStore::connect(&cluster.url()).await.unwrap();
    let ids: Vec<_> = (0..1024).map(id).collect();
    let writes: Vec<_> = (0..1024).map(insert).collect();
    assert!(store.apply_many(writes).await.into_iter().all(|it| it.unwrap() == Outcome::Applied));
    let before = cluster.primary_of(0).unwrap().port();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (store, ids, stop) = (store.clone(), ids.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    for row in store.load_many(&ids).await {
                        assert!(row.unwrap().is_some());
                    }
                    let updates = (0..1024).map(|number| update(number, "{}", "{}")).collect();
                    for made in store.apply_many(updates).await {
                        assert_eq!(made.unwrap(), Outcome::Applied);
                    }
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    replica_of(&cluster, cluster.primary_of(0).unwrap()).command(&["CLUSTER", "FAILOVER"]).unwrap();
    until(async || cluster.primary_of(0).is_ok_and(|primary| primary.port() != before)).await;
    tokio::time::sleep(CALM).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
}

/// [R13] An operator moves slots from one node to another: what is on its way is asked for at the new place.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_on_its_way_to_another_node_is_served() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap().unwrap();
    let store = RedisStore::connect(&cluster.url()).await.unwrap();
    let tag = format!("{{{}}}", &id(1).to_string()[..2]);
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &tag]).unwrap();
    let number: u16 = slot.parse().unwrap();
    let from = cluster.primary_of(number).unwrap();
    let to = cluster.primary_of((number + 8_192) % 16_384).unwrap();
    let name = |node: &Redis| node.command(&["CLUSTER", "MYID"]).unwrap();
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Applied);
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &name(from)]).unwrap();
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &name(to)]).unwrap();
    let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "9"]).unwrap();
    let keys: Vec<_> = keys.lines().collect();
    assert_eq!(keys.len(), 3);
    let port = to.port().to_string();
    let move_to = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", to.password(), "KEYS"];
    from.command(&[&move_to[..], &keys].concat()).unwrap();

    assert!(store.load(id(1)).await.unwrap().is_some());
    assert_eq!(store.apply(update(1, "{}", "1")).await.unwrap(), Outcome::Applied);
    // Redis makes no row with three keys where only two are known to have arrived.
    let in_slot = (2..).find(|&it| id(it).as_bytes()[0] == id(1).as_bytes()[0]).unwrap();
    let error = store.apply(insert(in_slot)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("TRYAGAIN"), "{error}");
    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &name(to)]).unwrap();
    }
    assert!(store.load(id(1)).await.unwrap().is_some());
    assert_eq!(store.apply(update(1, "1", "2")).await.unwrap(), Outcome::Applied);
    assert_eq!(store.apply(insert(in_slot)).await.unwrap(), Outcome::Applied);
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
}

/// [R13] [R18] A primary hangs and keeps its connections: a replica takes its place, and the store goes
/// there while the old one still hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_of_a_cluster_that_hangs_is_left() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap().unwrap();
    let store = RedisStore::options().timeout(Duration::from_secs(2)).connect(&cluster.url()).await.unwrap();
    let hanging = slots(&cluster);
    let (lost, _) = rows_by_server(&cluster, &hanging);
    store.apply(insert(lost[0])).await.unwrap();
    let primary = cluster.primary_of(0).unwrap();
    primary.pause().unwrap();
    let began = Instant::now();
    until(async || match store.apply(update(lost[0], "{}", "{}")).await {
        Ok(outcome) => outcome == Outcome::Applied,
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            false
        }
    })
    .await;
    println!("a primary hung; after {:?} its slots were served by another", began.elapsed());
    primary.resume().unwrap();
    cluster.wait_until_healthy().unwrap();
    until(async || store.apply(update(lost[0], "{}", "{}")).await.is_ok()).await;
}
