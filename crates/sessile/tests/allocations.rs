//! What a request that never asks for its session takes from the allocator.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

use std::alloc::System;
use std::convert::Infallible;

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, header};
use sessile::store::MemoryStore;
use sessile::{LazySession, SessionLayer, Sessions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt as _, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

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
