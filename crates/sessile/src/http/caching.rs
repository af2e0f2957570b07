//! What a response says to caches.

use ::http::header::{CACHE_CONTROL, EXPIRES, VARY};
use ::http::{HeaderMap, HeaderName, HeaderValue};

/// Says `Cache-Control: no-store`, and removes every header by which a handler tells some caches otherwise: those
/// that are addressed (RFC 9213: `CDN-Cache-Control`, `Cloudflare-CDN-Cache-Control`) take precedence over
/// `Cache-Control` there.
pub(super) fn forbid(headers: &mut HeaderMap) {
    let overriding: Vec<HeaderName> = headers.keys().filter(|name| overrides(name)).cloned().collect();
    for name in overriding {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn overrides(name: &HeaderName) -> bool {
    *name == EXPIRES
        || name.as_str().ends_with("-cache-control")
        || matches!(name.as_str(), "surrogate-control" | "edge-control" | "x-accel-expires")
}

/// Adds `Cookie` to `Vary`, unless it is there.
pub(super) fn vary_on_cookie(headers: &mut HeaderMap) {
    let is_there = headers.get_all(VARY).iter().any(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("cookie"))
        })
    });
    if !is_there {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}
