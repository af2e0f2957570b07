//! The store URL: where the server is and who we are there. The password is never in anything that is
//! shown.

use std::fmt;
use std::path::PathBuf;

use super::fault::NAME;
use crate::store::StoreUrlError;
use crate::store::host::host_and_port;
use crate::store::percent::decoded;
use crate::store::tls::{SslMode, TlsOptions};
use crate::store::url::{AMBIGUOUS, is_ambiguous, option_name};

const PORT: u16 = 3306;

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The URL without its password.
    shown: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) socket: Option<PathBuf>,
    tls: TlsOptions,
    pub(crate) table: Option<String>,
    pub(super) connections: Option<usize>,
}

impl Address {
    /// Reads `mysql://user:password@host:port/database?option=value`.
    pub(crate) fn parse(url: &str) -> Result<Address, StoreUrlError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        if !matches!(scheme, "mysql" | "mariadb") {
            return Err(StoreUrlError::UnknownScheme { scheme: scheme.to_owned() });
        }
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        // The last one: a password may be typed as it is, as long as it does not look like a path.
        let (user, server) = match authority.rsplit_once('@') {
            _ if is_ambiguous(rest, authority) => return Err(invalid(AMBIGUOUS)),
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        let text =
            |part: &str, name: &str| decoded(part).ok_or_else(|| invalid(format!("{name} is not UTF-8")));
        let (name, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) => (text(name, "the user")?, text(password, "the password")?),
            None => (String::new(), String::new()),
        };
        let (host, port) = host_and_port(server, PORT).map_err(invalid)?;
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let database = text(path.strip_prefix('/').unwrap_or(path), "the database")?;
        if database.is_empty() || database.contains('/') {
            return Err(invalid("name one database: mysql://user:password@host/database"));
        }
        let mut address = Address {
            shown: shown(user, server, path, options),
            host,
            port,
            user: Some(name).filter(|name| !name.is_empty()),
            password: Some(password).filter(|password| !password.is_empty()),
            database,
            socket: None,
            tls: TlsOptions::default(),
            table: None,
            connections: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            address.option(option, options)?;
        }
        Ok(address)
    }

    fn option(&mut self, option: &str, all: &str) -> Result<(), StoreUrlError> {
        let unknown = || StoreUrlError::UnknownOption { option: option_name(option, all).to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        let value = decoded(value).ok_or_else(unknown)?;
        match key {
            "table" if !value.is_empty() => self.table = Some(value),
            "socket" if !value.is_empty() => self.socket = Some(value.into()),
            "connections" => {
                let connections = value.parse().ok().filter(|&connections| connections > 0);
                self.connections =
                    Some(connections.ok_or_else(|| invalid("connections is no number above 0"))?);
            }
            name if self.tls.take(name, &value).map_err(invalid)? => {}
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// What stays on the machine is not encrypted.
    pub(super) fn tls(&self) -> TlsOptions {
        match self.socket {
            Some(_) => TlsOptions { mode: Some(SslMode::Disable), ..TlsOptions::default() },
            None => self.tls.clone(),
        }
    }

    /// `host:port/database`.
    pub(super) fn server(&self) -> String {
        let at = match (&self.socket, self.host.contains(':')) {
            (Some(socket), _) => socket.display().to_string(),
            (None, true) => format!("[{}]:{}", self.host, self.port),
            (None, false) => format!("{}:{}", self.host, self.port),
        };
        format!("{at}/{}", self.database)
    }
}

fn invalid(problem: impl Into<String>) -> StoreUrlError {
    StoreUrlError::Invalid { store: NAME, problem: problem.into() }
}

/// The URL again, without what follows the user's name.
fn shown(user: Option<&str>, server: &str, path: &str, options: &str) -> String {
    let user = user.map(|user| format!("{}@", user.split(':').next().unwrap_or_default()));
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    format!("mysql://{}{server}{path}{options}", user.unwrap_or_default())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn a_password_has_any_character() {
        for (url, password) in [
            ("mysql://ada:p%40%3A%2F%3F%23%25%20%C3%A9%26=@h/d", "p@:/?#% é&="),
            ("mariadb://ada:p@ss:w#rd%@h/d?table=t", "p@ss:w#rd%"),
        ] {
            assert_eq!(address(url).password.as_deref(), Some(password));
        }
        assert_eq!(address("mysql://ada@h/d").password, None);
    }

    /// [S14]
    #[test]
    fn a_password_is_never_shown() {
        let shown = address("mysql://ada:hunter2@h:1/d?table=t");
        assert_eq!(shown.to_string(), "mysql://ada@h:1/d?table=t");
        assert!(!format!("{shown:?}").contains("hunter2"));
        // Not encoded, so that it looks like something else.
        for url in [
            "mysql://ada:/hunter2@h/d",
            "mysql://ada:?hunter2@h/d",
            "mysql://ada:?hunter2=x@h/d",
            "mysql://ada:x?hunter2!=3@h/d",
            "mysql://ada:x@y?hunter2=3@h/d",
            "mysql://ada:hunter2:x/y@h/d",
            "mysql://ada:x@h/d?hunter2!=1",
            "mysql://ada:x@h/d?connections=hunter2",
            "mysql://ada:x@h/d?ssl-mode=hunter2",
            "mysql://ada:hunter2/d",
            "postgres:hunter2",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn each_part_is_read() {
        let all =
            address("mysql://a%2Fb@db.example:3307/my%20shop?table=w%60eb&connections=3&ssl-mode=VERIFY_CA");
        assert_eq!((all.user.as_deref(), &*all.server()), (Some("a/b"), "db.example:3307/my shop"));
        assert_eq!((all.table.as_deref(), all.connections), (Some("w`eb"), Some(3)));
        assert_eq!(all.tls().mode(), SslMode::VerifyCa);
        let six = address("mysql://[::1]:3307/d?ssl-mode=verify-identity");
        assert_eq!((&*six.server(), six.tls().mode()), ("[::1]:3307/d", SslMode::VerifyFull));
        let local = address("mysql:///d?socket=/run/my.sock&ssl-mode=required");
        assert_eq!((&*local.server(), local.tls().mode()), ("/run/my.sock/d", SslMode::Disable));
        assert_eq!(address("mysql://h/d").tls().mode(), SslMode::Prefer);
        assert_eq!(address("mysql://h/d?ssl-ca=/root.pem").tls().mode(), SslMode::VerifyCa);
        let both = address("mysql://h/d?sslrootcert=a%20b+c&sslmode=verify-full").tls();
        let same = TlsOptions {
            mode: Some(SslMode::VerifyFull),
            roots: Some("a b+c".into()),
            ..TlsOptions::default()
        };
        assert_eq!(both, same);
        assert_eq!(address("mysql://h/d?table=a%20b%2Bc+d").table.as_deref(), Some("a b+c+d"));
        for (wrong, says) in [
            ("mysql://h", "name one database"),
            ("mysql://h/", "name one database"),
            ("mysql://h/a/b", "name one database"),
            ("mysql://h:x/d", "the port is no number"),
            ("mysql://h/d?tabel=t", "unknown option \"tabel\""),
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
