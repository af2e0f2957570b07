//! What a request that never asks for its session takes from the allocator.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

use std::alloc::System;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, header};
use sessile::store::MemoryStore;
use sessile::{LazySession, SessionLayer, Sessions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt as _, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process: one test at a time.
static COUNTING: Mutex<()> = Mutex::new(());

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// As routers leave one: with an extension in it already.
fn request(cookie: bool) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert("a matched path");
    if cookie {
        let value: HeaderValue = format!("theme=dark; __Host-session={TOKEN}").parse().unwrap();
        // As servers make them: a part of what was read from the socket, which counts who shares it.
        request.headers_mut().insert(header::COOKIE, value.clone());
    }
    request
}

/// How often the fewest of some attempts allocate: others in this process may do it meanwhile.
fn allocations(cookie: bool, mut serve: impl FnMut(Request<()>)) -> usize {
    let counted = (0..20).map(|_| {
        let request = request(cookie);
        let region = Region::new(ALLOCATOR);
        serve(request);
        region.change().allocations
    });
    counted.min().unwrap()
}

/// [B01] [B02] One for the session, which the request and its response share, and one for the place in the
/// request's extensions: no cookie is read, nothing is hashed, and nothing is made for a session.
#[test]
fn a_request_that_asks_for_nothing_allocates_twice() {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let handler = || service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    let mut plain = handler();
    let mut layered = SessionLayer::new(Sessions::new(MemoryStore::new())).layer(handler());
    for cookie in [false, true] {
        let without = allocations(cookie, |request| {
            plain.call(request).now_or_never().unwrap().unwrap();
        });
        let with = allocations(cookie, |request| {
            layered.call(request).now_or_never().unwrap().unwrap();
        });
        assert_eq!(with - without, 2, "cookie: {cookie}");
    }
    // The count counts: a session that is asked for takes more.
    let mut asking = SessionLayer::new(Sessions::new(MemoryStore::new())).layer(service_fn(
        async |request: Request<()>| {
            let session = request.extensions().get::<LazySession>().unwrap().load().await.unwrap();
            session.insert("n", &1).unwrap();
            Ok::<_, Infallible>(Response::new(String::new()))
        },
    ));
    let asked = allocations(true, |request| {
        drop(asking.ready().now_or_never().unwrap().unwrap().call(request).now_or_never())
    });
    assert!(asked > 4, "{asked}");
}

/// Bytes that are allocated, the fewest of some attempts: others in this process may allocate meanwhile.
fn bytes_of(mut work: impl FnMut()) -> usize {
    let counted = (0..5).map(|_| {
        let region = Region::new(ALLOCATOR);
        work();
        let change = region.change();
        change.bytes_allocated + change.bytes_reallocated.unsigned_abs()
    });
    counted.min().unwrap()
}

fn session() -> sessile::Session {
    let sessions = Sessions::builder(MemoryStore::new())
        .policy(sessile::Policy::new().max_data_bytes(100_000_000))
        .build();
    LazySession::new(sessions, Vec::new()).load().now_or_never().unwrap().unwrap()
}

/// [R20] [S22] Eight times as many keys, list items or messages take about eight times as many bytes; what copies or
/// indexes all of them for each one would take sixty-four times as many.
#[test]
fn what_a_session_allocates_is_linear_in_what_it_holds() {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    type Work = fn(usize);
    fn keys(n: usize) -> std::collections::BTreeMap<String, u32> {
        (0..n).map(|n| (format!("k{n:06}"), 1)).collect()
    }
    fn filled(n: usize) -> sessile::Session {
        let session = session();
        session.extend(&keys(n)).unwrap();
        session
    }
    let kinds: [(&str, Work); 6] = [
        ("extend", |n| drop(filled(n))),
        ("insert", |n| {
            let session = session();
            (0..n).for_each(|n| session.insert(format!("k{n:06}").as_str(), &1).unwrap());
        }),
        ("remove", |n| {
            let session = filled(n);
            (0..n).for_each(|n| assert!(session.remove(&format!("k{n:06}"))));
        }),
        ("keep_only", |n| filled(n).keep_only(&["k000001"])),
        ("push", |n| {
            let session = session();
            (0..n).for_each(|n| session.push("list", &n).unwrap());
        }),
        ("flash", |n| {
            let session = session();
            (0..n).for_each(|n| session.flash("info", n.to_string()).unwrap());
            assert_eq!(session.flashes().unwrap().len(), n);
        }),
    ];
    for (name, work) in kinds {
        let (few, many) = (bytes_of(|| work(1_000)), bytes_of(|| work(8_000)));
        println!("{name}: {few} bytes for 1,000, {many} for 8,000: {:.1} times", many as f64 / few as f64);
        assert!(many < 20 * few, "{name}: {few} bytes for 1,000, {many} for 8,000");
    }
}
