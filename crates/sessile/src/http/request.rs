//! Reading the Cookie header, byte for byte.
//!
//! No percent-decoding, no Unicode trimming, no `$Version`: `%5F%5FHost-x` is another cookie than
//! `__Host-x`, and a neighbour that is no text at all never hides ours. Nothing is allocated for
//! cookies that are not ours.

use ::http::HeaderValue;

use crate::engine::{Credential, Credentials, Naming, Sessions};
use crate::record::{SessionId, SessionToken};

/// Cookies that are tried. A browser sends one; a planted one makes two.
pub(super) const MAX_TRIED: usize = 4;

/// The credentials in a request's cookies of this name, well-formed and different ones, four at most.
pub(super) fn credentials<'a, C>(cookies: C, name: &'a str, sessions: &Sessions) -> Credentials
where
    C: IntoIterator<Item = &'a HeaderValue>,
{
    different(cookies, name, MAX_TRIED, |value| match sessions.policy().naming() {
        Naming::Token => SessionToken::parse_in(sessions.realm(), value).ok().map(Credential::Token),
        Naming::Id => SessionId::parse_bytes(value).ok().map(Credential::Id),
    })
}

/// What `parse` makes of the cookies of this name: different sessions, at most so many.
pub(super) fn different<'a>(
    cookies: impl IntoIterator<Item = &'a HeaderValue>,
    name: &'a str,
    at_most: usize,
    parse: impl Fn(&[u8]) -> Option<Credential>,
) -> Credentials {
    let mut found = Credentials::new();
    if at_most == 0 {
        return found;
    }
    for value in values(cookies, name) {
        let Some(credential) = parse(value) else { continue };
        if found.iter().any(|other| other.id() == credential.id()) {
            continue;
        }
        found.push(credential);
        if found.len() == at_most {
            break;
        }
    }
    found
}

/// Whether the request has a cookie of this name at all, so that there is one to remove.
pub(super) fn has_cookie(cookies: &[HeaderValue], name: &str) -> bool {
    values(cookies, name).next().is_some()
}

fn values<'a>(
    cookies: impl IntoIterator<Item = &'a HeaderValue>,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    cookies
        .into_iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |pair| trim(pair).strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Without the blanks and tabs at both ends (OWS of RFC 9110); every other byte counts.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn found(cookies: &[&[u8]]) -> usize {
        let values: Vec<_> = cookies.iter().map(|cookie| HeaderValue::from_bytes(cookie).unwrap()).collect();
        let sessions = Sessions::new(crate::store::MemoryStore::new());
        credentials(&values, "__Host-session", &sessions).len()
    }

    fn bytes(before: &[u8], after: &[u8]) -> Vec<u8> {
        [before, b"__Host-session=", GOOD.as_bytes(), after].concat()
    }

    /// [S16]
    #[test]
    fn a_broken_neighbour_never_hides_a_good_cookie() {
        for before in
            [&b""[..], b"a=b; ", b"x=\xff\xfe; ", b"=; ;;; ", b"\"; ", b"a=\"b; ", b"no-equals;\t", b";"]
        {
            assert_eq!(found(&[&bytes(before, b"")]), 1, "{before:?}");
            assert_eq!(found(&[&bytes(before, b"; y=\x80")]), 1, "{before:?}");
        }
        assert_eq!(found(&[b"x=1", &bytes(b"", b" "), b"\xff"]), 1);
    }

    /// [S16]
    #[test]
    fn only_the_exact_name_is_ours() {
        for (before, after) in [
            (&b"%5F%5FHost-session="[..], &b""[..]),
            (b"\xe2\x80\x80__Host-session=", b""),
            (b"\xc2\xa0__Host-session=", b""),
            (b"__host-session=", b""),
            (b"x__Host-session=", b""),
            (b"__Host-session =", b""),
            (b"__Host-session-x=", b""),
            (b"$Version=1, __Host-session=", b""),
            (b"__Host-session=\"", b"\""),
        ] {
            assert_eq!(found(&[&[before, GOOD.as_bytes(), after].concat()]), 0, "{before:?}");
        }
    }

    /// [S15] [R09] [C08]
    #[test]
    fn at_most_four_are_tried_and_the_same_one_once() {
        let many: Vec<String> = (0..100).map(|n| format!("__Host-session={n:0>2}{}", &GOOD[2..])).collect();
        assert_eq!(found(&[many.join("; ").as_bytes()]), 4);
        assert_eq!(found(&[&bytes(b"", b""), &bytes(b"", b"")]), 1);
        let crowd = "a=b; ".repeat(10_000);
        assert_eq!(found(&[&bytes(crowd.as_bytes(), b"")]), 1);
    }
}
