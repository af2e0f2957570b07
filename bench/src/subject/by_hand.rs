//! The routes over a store by hand. Its cookie is the key itself.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Visitor, ok};
use crate::hand::{ByHand, Id};
use crate::sample;

pub(super) fn router<S: ByHand>(store: S) -> Router {
    Router::new()
        .route("/plain", get(ok))
        .route("/look", get(ok))
        .route("/read", get(read::<S>))
        .route("/write", post(write::<S>))
        .route("/create", get(create::<S>))
        .route("/login", get(login::<S>))
        .route("/logout", post(logout::<S>))
        .with_state(Arc::new(store))
}

/// The one value that is read, the rest skipped.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
}

async fn read<S: ByHand>(State(store): State<Arc<S>>, headers: HeaderMap) -> Response {
    let Some(id) = id_of(&headers) else { return no_session() };
    let user = |data: &[u8]| serde_json::from_slice::<Peek<'_>>(data).unwrap().user.into_owned();
    store.load(id, user).await.map_or_else(no_session, |(user, _)| user.into_response())
}

async fn write<S: ByHand>(State(store): State<Arc<S>>, headers: HeaderMap) -> Response {
    let Some(id) = id_of(&headers) else { return no_session() };
    loop {
        let Some((mut data, version)) = store.load(id, whole).await else { return no_session() };
        let n = data["n"].as_u64().unwrap_or(0) + 1;
        data.insert("n".to_owned(), n.into());
        if store.swap(id, id, serde_json::to_vec(&data).unwrap(), version).await {
            return n.to_string().into_response();
        }
    }
}

async fn create<S: ByHand>(State(store): State<Arc<S>>, Query(visitor): Query<Visitor>) -> Response {
    let id = new_id();
    store.create(id, serde_json::to_vec(&sample::data(visitor.i)).unwrap()).await;
    named(id)
}

async fn login<S: ByHand>(
    State(store): State<Arc<S>>,
    Query(visitor): Query<Visitor>,
    headers: HeaderMap,
) -> Response {
    let new = new_id();
    let found = match id_of(&headers) {
        Some(id) => store.load(id, whole).await.map(|(data, version)| (id, data, version)),
        None => None,
    };
    let Some((id, mut data, version)) = found else {
        let mut data = sample::data(visitor.i);
        data.insert("signed_in".to_owned(), visitor.i.into());
        store.create(new, serde_json::to_vec(&data).unwrap()).await;
        return named(new);
    };
    data.insert("signed_in".to_owned(), visitor.i.into());
    if store.swap(id, new, serde_json::to_vec(&data).unwrap(), version).await {
        named(new)
    } else {
        no_session()
    }
}

async fn logout<S: ByHand>(State(store): State<Arc<S>>, headers: HeaderMap) -> Response {
    let Some(id) = id_of(&headers) else { return no_session() };
    store.delete(id).await;
    "ok".into_response()
}

fn whole(data: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(data).unwrap()
}

/// Spread over the key space as a library's are.
fn new_id() -> Id {
    fastrand::u128(..).to_be_bytes()
}

fn named(id: Id) -> Response {
    ([(header::SET_COOKIE, format!("id={:032x}; Path=/", u128::from_be_bytes(id)))], "ok").into_response()
}

fn id_of(headers: &HeaderMap) -> Option<Id> {
    let mut pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|&b| b == b';'));
    let digits = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(b"id="))?;
    let id = u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some(id.to_be_bytes())
}

fn no_session() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}
