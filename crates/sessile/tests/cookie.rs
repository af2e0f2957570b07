//! The cookie, as browsers see it (the cookie lines of group I of the behaviour cases).
//!
//! Cases that have no test here:
//! * I02: a service behind a proxy cannot know whether its request was secure; browsers keep a `Secure`
//!   cookie from insecure ones, and the session works without it on the server's side.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use axum::http::{HeaderValue, Request};
use axum::response::{AppendHeaders, IntoResponse};
use sessile::engine::{Event, Rejection};
use sessile::http::{CookieConfigError, SameSite};
use sessile::record::SystemRandom;
use sessile::{CookieConfig, LazySession, Policy, Session, SessionError, SessionLayer, SessionToken};
use support::{Stage, Visitor, seconds};

type Done = Result<(), SessionError>;

const DAY: u64 = 24 * 60 * 60;

async fn signs_in(session: Session) -> Done {
    session.login("ada")
}

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

async fn signed_in(stage: &Stage) -> (Visitor, String) {
    let mut visitor = stage.visitor();
    assert_eq!(visitor.does(signs_in).await.status, 200);
    let cookie = visitor.cookie().unwrap();
    (visitor, cookie)
}

fn token() -> String {
    SessionToken::generate(&SystemRandom).unwrap().expose().to_owned()
}

/// Asks who these Cookie headers are taken for.
async fn who_shows(stage: &Stage, headers: &[&[u8]]) -> String {
    let request = headers.iter().fold(Request::get("/"), |request, &value| {
        request.header(COOKIE, HeaderValue::from_bytes(value).unwrap())
    });
    let answer = stage.visitor().sends(request, who).await;
    assert_eq!(answer.status, 200);
    answer.body
}

/// [S17] [I01] [I04] The default cookie and its removal, to the byte.
#[tokio::test]
async fn the_default_cookie_is_what_browsers_guard_best() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let answer = visitor.does(signs_in).await;
    let token = visitor.cookie().unwrap();
    assert_eq!(
        answer.set_cookies(),
        [format!("__Host-session={token}; Path=/; Secure; HttpOnly; SameSite=Lax")]
    );
    let answer = visitor.does(async |session: Session| session.logout()).await;
    assert_eq!(
        answer.set_cookies(),
        [
            "__Host-session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
        ]
    );
}

/// [S17] [I01] [I04] [E10] Every attribute appears as it was chosen, on the cookie and on its removal.
#[tokio::test]
async fn every_attribute_is_repeated_by_the_removal() {
    let plain = || CookieConfig::new().name("s");
    let cases = [
        (
            plain().domain("example.com").path("/app"),
            "Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Lax",
        ),
        (plain().same_site(SameSite::Strict).http_only(false), "Path=/; Secure; SameSite=Strict"),
        (
            plain().same_site(SameSite::None).partitioned(true),
            "Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
        (CookieConfig::insecure().name("s"), "Path=/; HttpOnly; SameSite=Lax"),
        (
            CookieConfig::new().name("__Secure-s").domain("example.com"),
            "Path=/; Domain=example.com; Secure; HttpOnly; SameSite=Lax",
        ),
        (CookieConfig::new().name("__Host-Http-s"), "Path=/; Secure; HttpOnly; SameSite=Lax"),
    ];
    for (cookie, attributes) in cases {
        let name = cookie.cookie_name().to_owned();
        let stage = Stage::new();
        let mut visitor = stage.visitor_with(cookie);
        let answer = visitor.sends(Request::post("/app"), signs_in).await;
        let token = visitor.cookie().unwrap();
        assert_eq!(answer.set_cookies(), [format!("{name}={token}; {attributes}")]);
        let answer = visitor.sends(Request::post("/app"), async |session: Session| session.logout()).await;
        let removal = format!("{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {attributes}");
        assert_eq!(answer.set_cookies(), [removal]);
    }
}

/// [S17] lback's cookie has a date, its own name, the id as its value, and nothing else.
#[tokio::test]
async fn the_policy_of_lback_brings_its_cookie() {
    let stage = Stage::with_policy(Policy::lback());
    let mut visitor = stage.visitor();
    let answer = visitor.does(signs_in).await;
    let id = stage.store.rows().await[0].id();
    assert_eq!(answer.set_cookies(), [format!("session_id={id}; Max-Age=1800; Path=/; HttpOnly")]);
    stage.clock.advance(seconds(60));
    let answer = visitor.does(who).await;
    assert_eq!(answer.body, "ada");
    assert_eq!(answer.set_cookies(), [format!("session_id={id}; Max-Age=1800; Path=/; HttpOnly")]);
}

/// [S17] [S18] [I08] [I10] What browsers would refuse is refused when the service is put together.
#[tokio::test]
async fn what_browsers_would_refuse_is_refused_by_the_builder() {
    use CookieConfigError as Wrong;
    let stage = Stage::new();
    let refused = |cookie: CookieConfig| {
        let error = SessionLayer::new(stage.sessions.clone()).cookie(cookie.clone()).err();
        assert_eq!(error, cookie.validate().err());
        error
    };
    let new = CookieConfig::new;
    for name in ["", "a b", "a;b", "a=b", "a,b", "é", "a\r\nb", "\"a\"", "a/b", "[a]"] {
        assert_eq!(refused(new().name(name)), Some(Wrong::Name { name: name.into() }));
    }
    for host in ["__Host-s", "__host-s", "__HOST-s"] {
        assert_eq!(refused(new().name(host)), None);
        assert_eq!(refused(new().name(host).secure(false)), Some(Wrong::HostPrefix));
        assert_eq!(refused(new().name(host).path("/app")), Some(Wrong::HostPrefix));
        assert_eq!(refused(new().name(host).domain("example.com")), Some(Wrong::HostPrefix));
    }
    assert_eq!(refused(new().name("__Secure-s").secure(false)), Some(Wrong::SecurePrefix));
    assert_eq!(refused(new().name("__sECURE-s").secure(false)), Some(Wrong::SecurePrefix));
    assert_eq!(refused(new().name("__Http-s").http_only(false)), Some(Wrong::HttpPrefix("__Http-")));
    assert_eq!(refused(new().name("__Http-s").secure(false)), Some(Wrong::HttpPrefix("__Http-")));
    let wrong = Some(Wrong::HttpPrefix("__Host-Http-"));
    assert_eq!(refused(new().name("__Host-Http-s").http_only(false)), wrong);
    assert_eq!(refused(new().name("__Host-Http-s").path("/app")), wrong);
    let plain = || new().name("s");
    assert_eq!(refused(plain().same_site(SameSite::None).secure(false)), Some(Wrong::SameSiteNone));
    assert_eq!(refused(plain().partitioned(true).secure(false)), Some(Wrong::Partitioned));
    let long = "/".to_owned() + &"a".repeat(1_024);
    for path in [
        "",
        "app",
        "/a;b",
        "/a\r\nSet-Cookie: x=y",
        "/é",
        "/a b",
        "/a ",
        "/a?b",
        "/a#b",
        "/a/../b",
        "/./a",
        "/\"a\"",
        "/a\\b",
        &long,
    ] {
        assert_eq!(refused(plain().path(path.to_owned())), Some(Wrong::Path { path: path.into() }));
    }
    for path in ["/", "/app", "/app/", "/a.b/..c", "/a%20b", "/~a/[b]/c|d", &long[..1_024]] {
        assert_eq!(refused(plain().path(path.to_owned())), None, "{path}");
    }
    let (label, name) = ("a".repeat(64) + ".com", "a.".repeat(127) + "com");
    for domain in [
        "",
        ".",
        "a b",
        "a;b",
        "a,b",
        "exa\nmple.com",
        "http://example.com",
        "*.example.com",
        "example.com.",
        "example..com",
        "..example.com",
        "example.com:8080",
        &label,
        &name,
    ] {
        assert_eq!(refused(plain().domain(domain.to_owned())), Some(Wrong::Domain { domain: domain.into() }));
    }
    for domain in ["example.com", ".example.com", "my_host.Example.com", "localhost", "127.0.0.1"] {
        assert_eq!(refused(plain().domain(domain)), None, "{domain}");
    }
    assert_eq!(refused(new().name("a".repeat(4_090))), Some(Wrong::TooLong(4_090)));
    assert_eq!(refused(new().name("a".repeat(4_000))), None);
    // And the reason is said in words that help.
    let error = refused(plain().same_site(SameSite::None).secure(false)).unwrap();
    assert!(error.to_string().contains(".secure(true)"));
}

/// [S15] [C08] Several cookies of our name, in any order, in one header or in several: exactly one live
/// one wins.
#[tokio::test]
async fn the_one_live_cookie_wins_wherever_it_stands() {
    let stage = Stage::new();
    let (_, live) = signed_in(&stage).await;
    let ours = |value: &str| format!("__Host-session={value}");
    for place in 0..4 {
        let mut cookies: Vec<String> = (0..3).map(|_| ours(&token())).collect();
        cookies.insert(place, ours(&live));
        assert_eq!(who_shows(&stage, &[cookies.join("; ").as_bytes()]).await, "ada");
        let apart: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
        assert_eq!(who_shows(&stage, &apart).await, "ada");
    }
    // Malformed ones do not count, and the same one twice is one.
    let junk = [ours("x"), ours(""), ours(&"a".repeat(1_000)), ours("é"), ours(&live), ours(&live)].join(";");
    assert_eq!(who_shows(&stage, &[junk.as_bytes()]).await, "ada");
    stage.events();
    assert_eq!(who_shows(&stage, &[ours(&token()).as_bytes(), ours(&live).as_bytes()]).await, "ada");
    assert_eq!(stage.events(), [], "a dead one beside it is nothing to report");
}

/// [S15] [S26] Two live ones are refused, with an event. A login is a fresh session and ends both.
#[tokio::test]
async fn two_live_cookies_are_refused() {
    let stage = Stage::new();
    let (mut ada, one) = signed_in(&stage).await;
    let mut eve = stage.visitor();
    eve.does(async |session: Session| session.login("eve")).await;
    let two = eve.cookie().unwrap();
    stage.events();
    for both in [[&one, &two], [&two, &one]] {
        let header = format!("__Host-session={}; __Host-session={}", both[0], both[1]);
        assert_eq!(who_shows(&stage, &[header.as_bytes()]).await, "nobody");
        assert_eq!(stage.events(), [Event::Rejected { reason: Rejection::Ambiguous }]);
    }
    let header = format!("__Host-session={one}; __Host-session={two}");
    let mut visitor = stage.visitor();
    let answer = visitor.sends(Request::post("/").header(COOKIE, header), signs_in).await;
    assert_eq!(answer.set_cookies().len(), 1);
    assert!(![one, two].contains(&visitor.cookie().unwrap()));
    stage.sessions.settled().await;
    assert_eq!((ada.does(who).await.body, eve.does(who).await.body), ("nobody".into(), "nobody".into()));
    assert_eq!(
        who_shows(&stage, &[format!("__Host-session={}", visitor.cookie().unwrap()).as_bytes()]).await,
        "ada"
    );
}

/// [S15] [R09] 64 KiB of cookies, ten thousand cookies: at most four look-ups in one statement, and the
/// work is bounded.
#[tokio::test]
async fn a_flood_of_cookies_costs_four_look_ups() {
    let stage = Stage::new();
    let (_, live) = signed_in(&stage).await;
    let many: Vec<String> = (0..10_000).map(|_| format!("__Host-session={}", token())).collect();
    let started = std::time::Instant::now();
    for header in [many.join("; "), many[..1_100].join(";"), format!("a={}", "x".repeat(65_536))] {
        stage.store.looked_up();
        stage.store.statements();
        assert_eq!(who_shows(&stage, &[header.as_bytes()]).await, "nobody");
        assert!(stage.store.looked_up() <= 4 && stage.store.statements() <= 1);
    }
    let apart: Vec<&[u8]> = many.iter().map(|cookie| cookie.as_bytes()).collect();
    assert_eq!(who_shows(&stage, &apart).await, "nobody");
    assert_eq!((stage.store.looked_up(), stage.store.statements()), (4, 1));
    // What is no token, or not ours, or the same again uses up none of the four.
    let junk = "__Host-session=junk; other=1; ".repeat(5_000);
    assert_eq!(who_shows(&stage, &[format!("{junk}__Host-session={live}").as_bytes()]).await, "ada");
    let same = format!("__Host-session={}; ", token()).repeat(10_000);
    assert_eq!(who_shows(&stage, &[format!("{same}__Host-session={live}").as_bytes()]).await, "ada");
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
}

/// [S16] The header is read byte for byte: only the exact name is ours, and no neighbour hides it.
#[tokio::test]
async fn the_header_is_read_byte_for_byte() {
    let stage = Stage::new();
    let (_, live) = signed_in(&stage).await;
    let with = |before: &[u8], name: &[u8], after: &[u8]| {
        [before, name, b"=".as_slice(), live.as_bytes(), after].concat()
    };
    for name in [
        &b"%5F%5FHost-session"[..],
        b"\xe2\x80\x80__Host-session",
        b"\xc2\xa0__Host-session",
        b"__host-session",
        b"__Host-session ",
        b"__Host-session%20",
        b"__Host-session[]",
        b"$Version=1, __Host-session",
        b"session",
    ] {
        assert_eq!(who_shows(&stage, &[&with(b"", name, b"")]).await, "nobody", "{}", name.escape_ascii());
    }
    for (before, after) in [
        (&b"x=\xff\xfe\x80; "[..], &b""[..]),
        (b"$Version=1; ", b"; $Path=/"),
        (b"a=\"unclosed; ", b""),
        (b"=; ;;;no-equals;\t", b" \t;"),
        (b"", b"; y=\xe2\x28\xa1"),
        (b"__Host-session=\"junk\"; ", b"; __Host-session"),
    ] {
        let header = with(before, b"__Host-session", after);
        assert_eq!(who_shows(&stage, &[&header]).await, "ada", "{}", header.escape_ascii());
        assert_eq!(who_shows(&stage, &[b"\xff\xff", &header, b"x"]).await, "ada");
    }
    for value in [
        format!("%{live}"),
        live.replace('-', "%2D") + "%20",
        format!("\"{live}\""),
        format!("{live}\u{2000}"),
    ] {
        let header = format!("__Host-session={value}");
        assert_eq!(who_shows(&stage, &[header.as_bytes()]).await, "nobody", "{value}");
    }
}

/// [S18] [I07] Never two cookies of our name in one response; other people's stay, in their order.
#[tokio::test]
async fn one_cookie_of_our_name_and_the_others_kept() {
    async fn others() -> impl IntoResponse {
        AppendHeaders([
            (SET_COOKIE, "first=1; Path=/"),
            (SET_COOKIE, "__Host-session=planted"),
            (SET_COOKIE, "__Host-session-2=kept"),
            (SET_COOKIE, "__Host-session=again; Path=/"),
            (SET_COOKIE, "last=2"),
        ])
    }
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let kept = ["first=1; Path=/", "__Host-session-2=kept", "last=2"];
    let answer = visitor
        .does(async |session: Session| -> Result<_, SessionError> {
            session.login("ada")?;
            Ok(others().await)
        })
        .await;
    let cookies = answer.set_cookies();
    assert_eq!(cookies[..3], kept);
    assert_eq!(cookies.len(), 4);
    assert!(cookies[3].starts_with("__Host-session=") && !cookies[3].contains("planted"));
    let ours = ("__Host-session".to_owned(), visitor.jar["__Host-session"].clone());
    visitor.jar = [ours].into();
    let answer = visitor
        .does(async |session: Session| {
            session.logout();
            others().await
        })
        .await;
    let cookies = answer.set_cookies();
    assert_eq!(cookies[..3], kept);
    assert!(cookies.len() == 4 && cookies[3].starts_with("__Host-session=; Max-Age=0"));
}

/// [S18] [E10] [E11] [E23] "Remember me" makes the cookie outlive the browser, 400 days at most; going
/// back makes it end with the browser.
#[tokio::test]
async fn remembering_dates_the_cookie() {
    let policy = Policy::default().remembered(seconds(14 * DAY), seconds(90 * DAY));
    let stage = Stage::with_policy(policy);
    let mut visitor = stage.visitor();
    let remembers = async |session: Session| -> Done {
        session.login("ada")?;
        session.remember(true);
        Ok(())
    };
    let answer = visitor.does(remembers).await;
    assert!(
        answer.set_cookies()[0].contains(&format!("; Max-Age={};", 14 * DAY)),
        "{:?}",
        answer.set_cookies()
    );
    // A renewal gives it a new date, once; so does a save that is followed by a change that moves nothing.
    stage.clock.advance(seconds(5 * DAY));
    let answer = visitor.does(who).await;
    assert_eq!(answer.body, "ada");
    assert!(answer.set_cookies()[0].contains(&format!("; Max-Age={};", 14 * DAY)));
    assert!(visitor.does(who).await.set_cookies().is_empty());
    stage.clock.advance(seconds(5 * DAY));
    let answer = visitor
        .does(async |session: Session| -> Done {
            session.insert("a", &1)?;
            session.save().await?;
            session.insert("b", &1)
        })
        .await;
    assert_eq!(answer.set_cookies().len(), 1, "the new date of the first save");
    // Near its absolute end it gets no date beyond it.
    for _ in 0..6 {
        stage.clock.advance(seconds(10 * DAY));
        visitor.does(who).await;
    }
    stage.clock.advance(seconds(10 * DAY));
    let answer = visitor.does(who).await;
    assert!(
        answer.set_cookies()[0].contains(&format!("; Max-Age={};", 10 * DAY)),
        "90 days, of which 80 are over"
    );

    let stage = Stage::with_policy(Policy::default().remembered(seconds(1_000 * DAY), None));
    let answer = stage.visitor().does(remembers).await;
    assert!(answer.set_cookies()[0].contains("; Max-Age=34560000;"));
}

/// [E11] Remembering can be switched on and off for a session that goes on under its name.
#[tokio::test]
async fn remembering_can_be_switched() {
    let stage = Stage::new();
    let (mut visitor, token) = signed_in(&stage).await;
    let answer = visitor.does(async |session: Session| session.remember(true)).await;
    assert_eq!(
        answer.set_cookies(),
        [format!("__Host-session={token}; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax")]
    );
    assert!(visitor.does(async |session: Session| session.remember(true)).await.set_cookies().is_empty());
    let answer = visitor.does(async |session: Session| session.remember(false)).await;
    assert_eq!(
        answer.set_cookies(),
        [format!("__Host-session={token}; Path=/; Secure; HttpOnly; SameSite=Lax")]
    );
    assert_eq!(stage.store.rows().await[0].expires_at(), stage.sessions.now().saturating_add(seconds(1_800)));
}

/// [B07] A renewal or a change under the same name sends no cookie that has no date to tell.
#[tokio::test]
async fn a_cookie_without_a_date_is_sent_once() {
    let stage = Stage::new();
    let (mut visitor, _) = signed_in(&stage).await;
    stage.clock.advance(seconds(900));
    stage.events();
    let answer = visitor.does(who).await;
    assert!(matches!(stage.events()[..], [Event::Renewed { .. }]));
    assert!(answer.set_cookies().is_empty() && !answer.headers.contains_key(CACHE_CONTROL));
    stage.clock.advance(seconds(900));
    let answer = visitor.does(async |session: Session| session.insert("a", &1)).await;
    assert!(answer.set_cookies().is_empty() && !answer.headers.contains_key(CACHE_CONTROL));
    assert_eq!(visitor.does(who).await.body, "ada");
}

/// [S19] [I05] `no-store` with the cookie; `Vary: Cookie` exactly when the session was looked at, beside
/// what the handler said.
#[tokio::test]
async fn what_a_cache_must_know() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let vary = |answer: &support::Answer| -> Vec<String> {
        answer.headers.get_all(VARY).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let cached = async || [(CACHE_CONTROL, "public, max-age=60"), (VARY, "Accept-Encoding")];
    let answer = visitor.does(cached).await;
    assert_eq!(
        (vary(&answer), answer.headers[CACHE_CONTROL].to_str().unwrap()),
        (vec!["Accept-Encoding".into()], "public, max-age=60")
    );
    let answer = visitor.does(async |_: LazySession| ()).await;
    assert!(vary(&answer).is_empty(), "not looked at");
    let answer = visitor.does(who).await;
    assert_eq!(vary(&answer), ["Cookie"], "also for a visitor without one: the page depends on that");
    let answer = visitor
        .does(async move |session: Session| -> Result<_, SessionError> {
            session.login("ada")?;
            Ok(cached().await)
        })
        .await;
    assert_eq!(vary(&answer), ["Accept-Encoding", "Cookie"]);
    assert_eq!(answer.headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), ["no-store"]);
    let answer = visitor.does(async move |_: Session| cached().await).await;
    assert_eq!(answer.headers[CACHE_CONTROL], "public, max-age=60", "the handler's business");
    assert_eq!(vary(&answer), ["Accept-Encoding", "Cookie"]);
    for there in ["cookie", "accept, COOKIE", "*"] {
        let answer = visitor.does(async move |_: Session| [(VARY, there)]).await;
        assert_eq!(vary(&answer), [there]);
    }
    let answer = visitor.does(async |session: Session| session.logout()).await;
    assert_eq!(
        (vary(&answer), answer.headers[CACHE_CONTROL].to_str().unwrap()),
        (vec!["Cookie".into()], "no-store")
    );
}
