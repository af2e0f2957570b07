//! The layers of this crate among those of others, in every order, on axum and on bare tower and hyper.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sessile::http::OriginCheckLayer;
use sessile::{LazySession, Session, SessionError, SessionLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::Stage;

fn layer(stage: &Stage) -> SessionLayer {
    SessionLayer::new(stage.sessions.clone())
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(600))
}

/// A handler of a framework without extractors: signs in.
async fn signs_in(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, SessionError> {
    let lazy = request.extensions().get::<LazySession>().ok_or(SessionError::MissingLayer)?;
    lazy.load().await?.login("ada")?;
    Ok(Response::new(Full::from("a page that is long enough to be compressed, all in all")))
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/").header("accept-encoding", "gzip").body(Full::default()).unwrap()
}

/// Bodies that have no `Default`: those of `TraceLayer` and `CompressionLayer`, inside and outside.
#[tokio::test]
async fn every_order_of_layers_is_a_service() {
    let stage = Stage::new();
    let inside = ServiceBuilder::new()
        .layer(OriginCheckLayer::new())
        .layer(layer(&stage))
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .service_fn(signs_in);
    let outside = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(layer(&stage))
        .layer(OriginCheckLayer::new())
        .service_fn(signs_in);
    // Its response body needs a `Default`.
    let timed =
        ServiceBuilder::new().layer(timeout()).layer(layer(&stage)).layer(timeout()).service_fn(signs_in);
    let answers = [
        inside.oneshot(request()).await.unwrap().map(BodyExt::boxed_unsync),
        outside.oneshot(request()).await.unwrap().map(BodyExt::boxed_unsync),
    ];
    for answer in answers {
        assert!(answer.headers().contains_key(header::SET_COOKIE));
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    let answer = timed.oneshot(request()).await.unwrap();
    assert!(answer.headers().contains_key(header::SET_COOKIE));
    assert_eq!(stage.store.rows().await.len(), 3);
}

#[tokio::test]
async fn axum_routers_take_every_order() {
    let stage = Stage::new();
    let handler = async |session: Session| session.login("ada").map(|()| "page".repeat(50));
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(OriginCheckLayer::new())
        .layer(layer(&stage))
        .layer(RequestBodyLimitLayer::new(1_000))
        .layer(CompressionLayer::new())
        .layer(timeout());
    let routes = Router::new().route("/", any(handler)).layer(layers);
    let request = Request::post("/").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let answer = routes.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(answer.headers().contains_key(header::SET_COOKIE));
}

/// Changes the session, or says that it could not.
async fn changes<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let lazy = request.extensions().get::<LazySession>().unwrap().clone();
    let changed = lazy.load().await.and_then(|session| session.insert("n", &1));
    Ok(Response::new(Full::from(if changed.is_ok() { "page" } else { "error" })))
}

/// What a server of hyper sends for one request, as it stands on the wire.
async fn on_the_wire(stage: &Stage, method: &str) -> String {
    let service = ServiceBuilder::new()
        .layer(layer(stage))
        .layer(TraceLayer::new_for_http())
        .service(service_fn(changes));
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let serving = tokio::spawn(async move {
        let http = auto::Builder::new(TokioExecutor::new());
        http.serve_connection(TokioIo::new(server), TowerToHyperService::new(service)).await.is_ok()
    });
    let request = format!(
        "{method} / HTTP/1.1\r\nhost: shop.example\r\naccept: text/html\r\nconnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(serving.await.unwrap());
    answer.to_ascii_lowercase()
}

/// [R01] On bare hyper, too, the head leaves after the commit, and the page of an error has its length. HEAD has the
/// same head and no body.
#[tokio::test]
async fn hyper_serves_pages_and_errors() {
    let stage = Stage::new();
    let answer = on_the_wire(&stage, "GET").await;
    assert!(answer.starts_with("http/1.1 200 ") && answer.ends_with("\r\n\r\npage"), "{answer}");
    assert!(answer.contains("set-cookie: __host-session=") && answer.contains("content-length: 4\r\n"));
    stage.store.set_down(true);
    let page = on_the_wire(&stage, "GET").await;
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    assert!(body.starts_with("<!doctype html>") && body.ends_with("</html>\n"), "{body}");
    assert!(head.contains(&format!("content-length: {}", body.len())));
    let answer = on_the_wire(&stage, "HEAD").await;
    let (empty_head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "");
    let without_date = |head: &str| -> Vec<String> {
        let mut lines: Vec<_> =
            head.lines().filter(|line| !line.starts_with("date:")).map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(without_date(empty_head), without_date(head));
}

/// [I11] A time-out inside answers 408, and `grpc-status` in the head names a failure: what the handler did so far is
/// dropped, and a logout is carried out.
#[tokio::test]
async fn a_time_out_and_a_grpc_status_are_failures() {
    let grpc = |status: &'static str| (StatusCode::OK, [("grpc-status", status)]);
    for (response, drops) in [
        ((StatusCode::REQUEST_TIMEOUT, [("x-none", "1")]), true),
        (grpc("13"), true),
        (grpc("0"), false),
        ((StatusCode::CONFLICT, [("x-none", "1")]), false),
    ] {
        let stage = Stage::new();
        let mut visitor = stage.visitor();
        let answer = visitor
            .does(async move |session: Session| -> Result<_, SessionError> {
                session.insert("half", &1)?;
                Ok(response)
            })
            .await;
        assert_eq!(answer.set_cookies().len(), usize::from(!drops), "{response:?}");
        assert_eq!(stage.store.rows().await.len(), usize::from(!drops), "{response:?}");
        crate::support::sign_in(&mut visitor, "ada").await;
        visitor
            .does(async move |session: Session| {
                session.logout();
                response
            })
            .await;
        assert!(stage.store.rows().await.is_empty(), "{response:?}: a logout is carried out");
    }
}

/// [I11] tower-http's own layer, around a handler that has changed something and never ends.
#[tokio::test]
async fn a_handler_that_timed_out_has_changed_nothing() {
    let stage = Stage::new();
    let cut = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20));
    let never_ends = async |request: Request<()>| {
        let session = request.extensions().get::<LazySession>().unwrap().load().await?;
        session.login("ada")?;
        std::future::pending::<Result<Response<Full<Bytes>>, SessionError>>().await
    };
    let service = ServiceBuilder::new().layer(layer(&stage)).layer(cut).service_fn(never_ends);
    let answer = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(!answer.headers().contains_key(header::SET_COOKIE));
    assert!(stage.store.rows().await.is_empty());
}

/// Trailers come after the head: they pass, and the commit stands.
#[tokio::test]
async fn grpc_trailers_pass() {
    let stage = Stage::new();
    let service = ServiceBuilder::new().layer(layer(&stage)).service_fn(async |request: Request<()>| {
        let session = request.extensions().get::<LazySession>().unwrap().load().await?;
        session.insert("n", &1)?;
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("13"))]);
        let frames = [http_body::Frame::data(Bytes::from("x")), http_body::Frame::trailers(trailers)];
        let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
        let head = Response::builder().header(header::CONTENT_TYPE, "application/grpc+proto");
        Ok::<_, SessionError>(head.body(body).unwrap())
    });
    let answer = service.oneshot(Request::new(())).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "13");
    assert_eq!(stage.store.rows().await.len(), 1);
}

/// A body that streams is neither gathered nor cut.
#[tokio::test]
async fn a_streamed_body_is_handed_on_frame_by_frame() {
    let stage = Stage::new();
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::unfold(receive, async |mut receive| {
        let frame = receive.recv().await?;
        Some((Ok::<_, Infallible>(http_body::Frame::data(frame)), receive))
    });
    let body = std::sync::Mutex::new(Some(Box::pin(frames)));
    let service = ServiceBuilder::new().layer(layer(&stage)).service_fn(move |_: Request<()>| {
        let body = StreamBody::new(body.lock().unwrap().take().unwrap());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let mut body =
        service.oneshot(Request::builder().method(Method::GET).body(()).unwrap()).await.unwrap().into_body();
    for text in ["first", "second"] {
        send.send(Bytes::from(text)).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(send);
    assert!(body.frame().await.is_none());
}
