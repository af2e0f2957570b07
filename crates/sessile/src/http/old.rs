//! The cookie of the framework that was used before, so that a switch to sessile logs nobody out.

use std::borrow::Cow;

use ::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookie::{CookieConfig, CookieConfigError};
use super::request;
use crate::engine::{Credential, Credentials};
use crate::record::SessionId;

/// Another framework's session cookie, to be accepted beside ours: see
/// [`SessionLayer::accept_old`](super::SessionLayer::accept_old).
///
/// It names sessions that `sessile copy` has brought over: their ids are made of this cookie's value, as
/// ids are made of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldCookie {
    cookie: CookieConfig,
    form: Form,
}

/// What the value has to be, to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 16 bytes as 22 characters of base64url.
    TowerSessions,
    /// 32 characters of a to z and 0 to 9.
    Django,
}

impl OldCookie {
    /// tower-sessions' cookie, `id` unless the application named it. Plain ones only: what is signed or
    /// encrypted has another form.
    pub fn tower_sessions(name: impl Into<Cow<'static, str>>) -> OldCookie {
        OldCookie::new(name, Form::TowerSessions)
    }

    /// Django's cookie, `sessionid` unless `SESSION_COOKIE_NAME` says otherwise.
    pub fn django(name: impl Into<Cow<'static, str>>) -> OldCookie {
        OldCookie::new(name, Form::Django)
    }

    fn new(name: impl Into<Cow<'static, str>>, form: Form) -> OldCookie {
        OldCookie { cookie: CookieConfig::new().name(name), form }
    }

    /// The path it was set for; `/` unless told otherwise. Browsers remove a cookie only by its own path
    /// and domain.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> OldCookie {
        self.cookie = self.cookie.path(path);
        self
    }

    /// The domain it was set for; none unless told otherwise.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> OldCookie {
        self.cookie = self.cookie.domain(domain);
        self
    }

    /// Whether it can stand beside ours.
    pub(super) fn validate(&self, ours: &CookieConfig) -> Result<(), CookieConfigError> {
        let name = self.cookie.cookie_name();
        if name == ours.cookie_name() {
            return Err(CookieConfigError::SameName { name: name.to_owned() });
        }
        self.cookie.validate()
    }

    /// The sessions that a request names by it, well-formed and different ones, at most so many.
    pub(super) fn credentials(&self, cookies: &[HeaderValue], at_most: usize) -> Credentials {
        let id =
            |value: &[u8]| self.form.is_met_by(value).then(|| Credential::Old(SessionId::of_secret(value)));
        request::different(cookies, self.cookie.cookie_name(), at_most, id)
    }

    /// Whether a request brings it, so that there is one to remove.
    pub(super) fn is_in(&self, cookies: &[HeaderValue]) -> bool {
        request::has_cookie(cookies, self.cookie.cookie_name())
    }

    /// `Set-Cookie` that removes it. Over plain HTTP browsers take no `Secure` cookie, not even a removal.
    pub(super) fn removal(&self, ours: &CookieConfig) -> Option<HeaderValue> {
        self.cookie.clone().secure(ours.is_secure()).removal()
    }
}

impl Form {
    fn is_met_by(self, value: &[u8]) -> bool {
        match self {
            // Strictly: one id has one text.
            Form::TowerSessions => {
                let mut id = [0; 16];
                value.len() == 22 && matches!(URL_SAFE_NO_PAD.decode_slice(value, &mut id), Ok(16))
            }
            Form::Django => {
                value.len() == 32
                    && value.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S04]
    #[test]
    fn only_the_exact_form_is_met() {
        let tower = |value: &str| Form::TowerSessions.is_met_by(value.as_bytes());
        assert!(tower("AAAAAAAAAAAAAAAAAAAAAA") && tower("_-9aZ8AAAAAAAAAAAAAAAw"));
        for wrong in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAA==",
            "+AAAAAAAAAAAAAAAAAAAAA",
            "\"AAAAAAAAAAAAAAAAAAAA\"",
            "AAAAAAAAAAAAAAAAAAAAé",
        ] {
            assert!(!tower(wrong), "{wrong}");
        }
        let django = |value: &str| Form::Django.is_met_by(value.as_bytes());
        assert!(django("0123456789abcdefghijklmnopqrstuv"));
        for wrong in [
            "",
            "0123456789abcdefghijklmnopqrstu",
            "0123456789abcdefghijklmnopqrstuvw",
            "0123456789ABCDEFghijklmnopqrstuv",
            "0123456789abcdefghijklmnopqrstu-",
            "0123456789abcdefghijklmnopqrsté",
        ] {
            assert!(!django(wrong), "{wrong}");
        }
    }
}
