//! The session cookie: how it is named, what goes with it, and what browsers would refuse.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use ::http::header::{COOKIE, SET_COOKIE};
use ::http::{HeaderMap, HeaderValue};

use super::{caching, request};
use crate::engine::{Credential, Sessions};
use crate::record::Timestamp;
use crate::session::CredentialChange;

/// Browsers drop a cookie whose name and value together are longer (RFC 6265bis, 5.6).
const MAX_COOKIE_BYTES: usize = 4_096;
/// Room for `; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax`, so that the text is moved at most once.
const USUAL_ATTRIBUTES: usize = 80;
/// Browsers ignore an attribute whose value is longer (RFC 6265bis, 5.6).
const MAX_ATTRIBUTE_BYTES: usize = 1_024;
/// Browsers cap the age of a cookie (RFC 6265bis, 5.6).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Room that a value of ours needs: a token has 43 characters.
const LONGEST_VALUE: usize = 64;

/// When browsers send the cookie with requests that other sites start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never, not even when a link is followed.
    Strict,
    /// Only when a link is followed.
    Lax,
    /// Always; needs `Secure`.
    None,
}

/// The name and the attributes of the session cookie.
///
/// Default: `__Host-session`, `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/`, no `Domain`, until the
/// browser is closed. The prefix makes browsers refuse a cookie of this name that another host or an
/// insecure page tries to plant (RFC 6265bis, 4.1.3). Browsers treat `http://localhost` and
/// `http://127.0.0.1` as secure, Safari excepted: see [`CookieConfig::insecure`] for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieConfig {
    name: Cow<'static, str>,
    path: Cow<'static, str>,
    domain: Option<Cow<'static, str>>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    partitioned: bool,
    dated: bool,
    /// Whether requests come without the path, because a proxy removes it.
    is_path_removed: bool,
}

/// A cookie that browsers would refuse, or that would not be safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieConfigError {
    /// The name has characters that a cookie's name cannot have.
    #[error("{name:?} is no cookie name: letters, digits and !#$%&'*+-.^_`|~ are allowed")]
    Name {
        /// The name.
        name: String,
    },
    /// Name and value would be longer than 4,096 bytes.
    #[error(
        "a cookie name of {0} bytes leaves no room for the value: name and value have at most 4,096 bytes"
    )]
    TooLong(usize),
    /// The `__Secure-` prefix needs `Secure`.
    #[error("browsers refuse a __Secure- cookie without Secure: call .secure(true) or choose another name")]
    SecurePrefix,
    /// The `__Host-` prefix needs `Secure`, `Path=/` and no `Domain`.
    #[error(
        "browsers refuse a __Host- cookie unless it has Secure, Path=/ and no Domain: change those or choose another name"
    )]
    HostPrefix,
    /// The `__Http-` and `__Host-Http-` prefixes need `HttpOnly` as well.
    #[error("browsers refuse a {0} cookie without Secure and HttpOnly: set those or choose another name")]
    HttpPrefix(&'static str),
    /// The old cookie has the name of ours: removing the one would remove the other.
    #[error("the old cookie and the new one are both named {name:?}: choose another name for the new one")]
    SameName {
        /// The name.
        name: String,
    },
    /// The sessions of an accepted old cookie are of no realm, and the layer is in one.
    #[error(
        "the sessions of an accepted old cookie are of no realm, so realm {realm:?} would not know them: leave out \
         `accept_old`, or the realm"
    )]
    OldCookieInRealm {
        /// The realm.
        realm: String,
    },
    /// `SameSite=None` needs `Secure`.
    #[error("browsers refuse SameSite=None without Secure: call .secure(true) or choose Lax")]
    SameSiteNone,
    /// `Partitioned` needs `Secure`.
    #[error("browsers refuse Partitioned without Secure: call .secure(true)")]
    Partitioned,
    /// No request of a browser has this path, or browsers ignore it because it is too long.
    #[error(
        "{path:?} is no cookie path: it begins with /, is written as in a URL (no spaces, quotes, ;, ?, # or \"..\") \
         and has at most 1,024 bytes"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// The domain is no host name, so no host is in it.
    #[error(
        "{domain:?} is no cookie domain: a host name such as example.com is expected, without a final dot"
    )]
    Domain {
        /// The domain.
        domain: String,
    },
}

impl Default for CookieConfig {
    fn default() -> CookieConfig {
        CookieConfig {
            name: Cow::Borrowed("__Host-session"),
            path: Cow::Borrowed("/"),
            domain: None,
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            partitioned: false,
            dated: false,
            is_path_removed: false,
        }
    }
}

impl CookieConfig {
    /// The default cookie.
    pub fn new() -> CookieConfig {
        CookieConfig::default()
    }

    /// `session`, without `Secure` and prefix: for plain HTTP where the browser insists, and for curl.
    /// Never for a site that others can reach.
    pub fn insecure() -> CookieConfig {
        CookieConfig { name: Cow::Borrowed("session"), secure: false, ..CookieConfig::default() }
    }

    /// lback's cookie: `session_id`, `HttpOnly`, `Path=/`, with a date, and nothing else.
    pub fn lback() -> CookieConfig {
        CookieConfig {
            name: Cow::Borrowed("session_id"),
            secure: false,
            same_site: None,
            dated: true,
            ..CookieConfig::default()
        }
    }

    /// Another name. Two layers with different names are two independent sessions of one browser; only with two
    /// [realms](crate::SessionLayer::realm) is a token of one nothing under the other.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> CookieConfig {
        self.name = name.into();
        self
    }

    /// Only for requests for this path and those below it. Elsewhere browsers do not send the cookie, so the layer
    /// neither loads nor makes a session there.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> CookieConfig {
        self.path = path.into();
        self.is_path_removed = false;
        self
    }

    /// The same where a proxy removes the path from the requests, so that they come here without it: the layer then
    /// takes every request for one below the path.
    #[must_use]
    pub fn path_removed_by_proxy(mut self, path: impl Into<Cow<'static, str>>) -> CookieConfig {
        self.path = path.into();
        self.is_path_removed = true;
        self
    }

    /// Also for the subdomains of this domain, every one of which can then read and replace the cookie.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> CookieConfig {
        self.domain = Some(domain.into());
        self
    }

    /// Only over HTTPS. Default: yes.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> CookieConfig {
        self.secure = secure;
        self
    }

    /// Hidden from scripts. Default: yes.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> CookieConfig {
        self.http_only = http_only;
        self
    }

    /// When requests from other sites bring it. Default: `Lax`.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> CookieConfig {
        self.same_site = Some(same_site);
        self
    }

    /// Kept apart for each site that embeds this one (CHIPS).
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> CookieConfig {
        self.partitioned = partitioned;
        self
    }

    /// The name.
    pub fn cookie_name(&self) -> &str {
        &self.name
    }

    /// The path.
    pub fn cookie_path(&self) -> &str {
        &self.path
    }

    /// Whether browsers would take this cookie.
    ///
    /// # Errors
    /// Why they would not.
    pub fn validate(&self) -> Result<(), CookieConfigError> {
        use CookieConfigError as Wrong;
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return Err(Wrong::Name { name: self.name.to_string() });
        }
        if self.name.len() + LONGEST_VALUE > MAX_COOKIE_BYTES {
            return Err(Wrong::TooLong(self.name.len()));
        }
        self.validate_prefix()?;
        if self.same_site == Some(SameSite::None) && !self.secure {
            return Err(Wrong::SameSiteNone);
        }
        if self.partitioned && !self.secure {
            return Err(Wrong::Partitioned);
        }
        if !is_path(&self.path) {
            return Err(Wrong::Path { path: self.path.to_string() });
        }
        if let Some(domain) = &self.domain
            && !is_domain(domain)
        {
            return Err(Wrong::Domain { domain: domain.to_string() });
        }
        Ok(())
    }

    /// Browsers compare the prefixes without regard to case.
    fn validate_prefix(&self) -> Result<(), CookieConfigError> {
        let name = self.name.to_ascii_lowercase();
        let host = self.secure && self.path == "/" && self.domain.is_none();
        for (prefix, needs_host) in [("__host-http-", true), ("__http-", false)] {
            if name.starts_with(prefix) && !(self.http_only && self.secure && (host || !needs_host)) {
                let prefix = if needs_host { "__Host-Http-" } else { "__Http-" };
                return Err(CookieConfigError::HttpPrefix(prefix));
            }
        }
        if name.starts_with("__host-") && !host {
            return Err(CookieConfigError::HostPrefix);
        }
        if name.starts_with("__secure-") && !self.secure {
            return Err(CookieConfigError::SecurePrefix);
        }
        Ok(())
    }

    /// The credentials that the `Cookie` headers of a request name: well-formed and different ones, four at most. The
    /// policy and the realm of `sessions` decide what is well-formed. For
    /// [transports of your own](crate::LazySession::commit).
    pub fn credentials(&self, headers: &HeaderMap, sessions: &Sessions) -> Vec<Credential> {
        request::credentials(headers.get_all(COOKIE), &self.name, sessions).into_vec()
    }

    /// Writes `Set-Cookie` and `Cache-Control: no-store` where the client has to be told something, in place of other
    /// cookies of this name, and removes the headers that tell some caches otherwise. For
    /// [transports of your own](crate::LazySession::commit).
    ///
    /// # Errors
    /// When browsers would refuse the cookie: see [`validate`](Self::validate). Nothing is written then.
    pub fn write(
        &self,
        change: CredentialChange,
        sessions: &Sessions,
        headers: &mut HeaderMap,
    ) -> Result<(), CookieConfigError> {
        self.validate()?;
        self.write_valid(change, sessions, headers);
        Ok(())
    }

    /// The same for a cookie that was validated before.
    pub(super) fn write_valid(&self, change: CredentialChange, sessions: &Sessions, headers: &mut HeaderMap) {
        let until = |expires_at, remembered| (remembered || self.dated).then_some(expires_at);
        let set_cookie = match change {
            CredentialChange::Unchanged => None,
            CredentialChange::Set { credential, expires_at, remembered } => {
                self.value(&credential, until(expires_at, remembered), sessions)
            }
            // A cookie without a date needs no new one.
            CredentialChange::Renewed { credential, expires_at, remembered } => {
                until(expires_at, remembered).and_then(|until| self.value(&credential, Some(until), sessions))
            }
            CredentialChange::Ended => self.removal(),
        };
        if let Some(set_cookie) = set_cookie {
            remove_cookies_named(headers, &self.name);
            headers.append(SET_COOKIE, set_cookie);
            caching::forbid(headers);
        }
    }

    /// `Set-Cookie` for a credential; `until` when the browser is to keep it, or until it is closed.
    fn value(
        &self,
        credential: &Credential,
        until: Option<Timestamp>,
        sessions: &Sessions,
    ) -> Option<HeaderValue> {
        let max_age = until.map(|until| until.saturating_since(sessions.now()));
        match credential {
            Credential::Token(token) => self.set(token.expose(), max_age),
            Credential::Id(id) => self.set(id.to_text().as_str(), max_age),
            // Its value is not ours to give.
            Credential::Old(_) => None,
        }
    }

    /// Whether browsers send the cookie with a request for this path (RFC 6265, 5.1.4). The bytes are compared, as
    /// browsers do: `%73hop` is another path than `shop`.
    pub(super) fn covers<'a>(&self, path: impl FnOnce() -> &'a str) -> bool {
        // `OPTIONS *` and `CONNECT` have no path.
        if self.is_path_removed || self.path == "/" {
            return true;
        }
        match path().strip_prefix(&*self.path) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'),
            None => false,
        }
    }

    /// Whether it is only for HTTPS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether every cookie carries a date, remembered or not.
    pub(super) fn is_dated(&self) -> bool {
        self.dated
    }

    /// `Set-Cookie` for a value; with `max_age` it outlives the browser, for 400 days at most.
    fn set(&self, value: &str, max_age: Option<Duration>) -> Option<HeaderValue> {
        let mut text = String::with_capacity(self.name.len() + value.len() + USUAL_ATTRIBUTES);
        // Writing into a String cannot fail, here and below.
        let _ = write!(text, "{}={value}", self.name);
        if text.len() > MAX_COOKIE_BYTES {
            return None;
        }
        if let Some(age) = max_age {
            let _ = write!(text, "; Max-Age={}", whole_seconds(age.min(MAX_AGE)));
        }
        self.finish(text)
    }

    /// `Set-Cookie` that removes the cookie: the same attributes, or the browser would keep it.
    pub(super) fn removal(&self) -> Option<HeaderValue> {
        self.finish(format!("{}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT", self.name))
    }

    fn finish(&self, mut text: String) -> Option<HeaderValue> {
        let _ = write!(text, "; Path={}", self.path);
        if let Some(domain) = &self.domain {
            let _ = write!(text, "; Domain={domain}");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// Rounded up: the cookie never ends before its session.
fn whole_seconds(age: Duration) -> u64 {
    age.as_secs() + u64::from(age.subsec_nanos() > 0)
}

/// Removes the cookies of this name that a handler set: there are never two in one response.
fn remove_cookies_named(headers: &mut HeaderMap, name: &str) {
    let is_named = |value: &HeaderValue| {
        value.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    if !headers.get_all(SET_COOKIE).iter().any(is_named) {
        return;
    }
    let others: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !is_named(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
}

/// RFC 9110's `token`.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether browsers keep the path as it is, and may ask for a path below it: what URLs escape or resolve is never sent.
fn is_path(path: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"#;<>?\\`{}".contains(&byte);
    path.starts_with('/')
        && path.len() <= MAX_ATTRIBUTE_BYTES
        && path.bytes().all(is_allowed)
        && !path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Whether it is a host name; a dot before it, which browsers ignore, is allowed.
fn is_domain(domain: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_allowed);
    let name = domain.strip_prefix('.').unwrap_or(domain);
    name.len() <= 253 && name.split('.').all(is_label)
}
