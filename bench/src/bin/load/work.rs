//! What a request asks for.

/// A route under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    /// `{i}` stands for the number of the request.
    pub(crate) path: &'static str,
    pub(crate) cookies: Cookies,
}

/// Which cookies go along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cookies {
    /// None: the client is a visitor nobody knows.
    None,
    /// Those of signed-in sessions, in turn.
    InTurn,
    /// Those that the work before was given, each once: it is of no use afterwards.
    Once,
}

pub(crate) const UNTOUCHED: Work =
    Work { name: "untouched, no cookie", method: "GET", path: "/plain", cookies: Cookies::None };
pub(crate) const NAMED: Work =
    Work { name: "untouched, cookie", method: "GET", path: "/plain", cookies: Cookies::InTurn };
pub(crate) const ANONYMOUS: Work =
    Work { name: "anonymous", method: "GET", path: "/look", cookies: Cookies::None };
pub(crate) const READ: Work = Work { name: "read", method: "GET", path: "/read", cookies: Cookies::InTurn };
pub(crate) const CHANGE: Work =
    Work { name: "change", method: "POST", path: "/write", cookies: Cookies::InTurn };
pub(crate) const CREATE: Work =
    Work { name: "create", method: "GET", path: "/create?i={i}", cookies: Cookies::None };
/// Over the anonymous sessions that [`CREATE`] made.
pub(crate) const LOGIN: Work =
    Work { name: "login", method: "GET", path: "/login?i={i}", cookies: Cookies::Once };
/// Of the sessions that [`LOGIN`] made.
pub(crate) const LOGOUT: Work =
    Work { name: "logout", method: "POST", path: "/logout", cookies: Cookies::Once };

/// All of them; the last three need each other, in this order.
pub(crate) const ALL: [Work; 8] = [UNTOUCHED, NAMED, ANONYMOUS, READ, CHANGE, CREATE, LOGIN, LOGOUT];

impl Work {
    pub(crate) fn named(name: &str) -> Work {
        let names = ALL.map(|work| work.name);
        ALL.into_iter()
            .find(|work| work.name == name)
            .unwrap_or_else(|| panic!("{name:?} is none of {names:?}"))
    }

    /// The request with this number, as it is sent.
    pub(crate) fn request(&self, i: usize, cookie: &str) -> Vec<u8> {
        let path = self.path.replace("{i}", &i.to_string());
        let mut request = format!("{} {path} HTTP/1.1\r\nHost: localhost\r\n", self.method);
        if !cookie.is_empty() {
            request += &format!("Cookie: {cookie}\r\n");
        }
        if self.method == "POST" {
            request += "Content-Length: 0\r\n";
        }
        (request + "\r\n").into_bytes()
    }
}
