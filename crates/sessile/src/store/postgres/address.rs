//! The store URL: where the server is and who we are there. The password is in [`Config`] alone and
//! never in anything that is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::tls;
use crate::store::StoreUrlError;
use crate::store::percent::decoded;
use crate::store::tls::{SslMode, TlsOptions};
use crate::store::url::{AMBIGUOUS, is_ambiguous, is_secret, option_name};

/// What a URL says, and what it leaves to the environment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The URL without its password.
    shown: String,
    pub(super) config: Config,
    tls: TlsOptions,
    pub(crate) table: Option<String>,
    pub(crate) schema: Option<String>,
    pub(super) connections: Option<usize>,
    /// Whether a pooler in transaction mode is to be expected.
    pub(super) pooled: bool,
    /// Where the feed listens, if not there.
    pub(super) feed: Option<Box<Address>>,
}

/// An address with nothing left open.
pub(super) struct Destination {
    pub(super) config: Config,
    pub(super) tls: TlsOptions,
    /// `host:port/database`.
    pub(super) server: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?option=value`.
    pub(crate) fn parse(url: &str) -> Result<Address, StoreUrlError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(StoreUrlError::UnknownScheme { scheme: scheme.to_owned() });
        }
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        // The last one: a password may be typed as it is, as long as it does not look like a path.
        let (user, hosts) = match authority.rsplit_once('@') {
            _ if is_ambiguous(rest, authority) => return Err(invalid(AMBIGUOUS)),
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let mut address = Address {
            shown: shown(user, hosts, path, options),
            config: Config::new(),
            tls: TlsOptions::default(),
            table: None,
            schema: None,
            connections: None,
            pooled: false,
            feed: None,
        };
        let mut left = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            if !address.option(option, options)? {
                left.push(option);
            }
        }
        // The driver takes the first `@` of all for the end of the password.
        let user = user.map(|user| format!("{}@", user.replace('@', "%40"))).unwrap_or_default();
        let plain = format!("postgres://{user}{hosts}{path}?{}", left.join("&"));
        // Its messages name options, never values.
        address.config = plain.parse().map_err(|error| invalid(super::fault::words(&error)))?;
        Ok(address)
    }

    /// Takes an option that the driver does not know, or not as libpq does.
    fn option(&mut self, option: &str, all: &str) -> Result<bool, StoreUrlError> {
        let unknown = || StoreUrlError::UnknownOption { option: option_name(option, all).to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        let value = decoded(value)
            .ok_or_else(|| invalid(format!("the option {} is not UTF-8", option_name(option, all))))?;
        match key {
            "table" if !value.is_empty() => self.table = Some(value),
            "schema" if !value.is_empty() => self.schema = Some(value),
            "connections" => {
                let connections = value.parse().ok().filter(|&connections| connections > 0);
                self.connections =
                    Some(connections.ok_or_else(|| invalid("connections is no number above 0"))?);
            }
            "pooler" => {
                let is_known = value == "transaction";
                self.pooled = is_known.then_some(true).ok_or_else(|| {
                    invalid("pooler has one value, transaction: a pool in session mode needs no option")
                })?;
            }
            "feed_url" => {
                let address = Address::parse(&value).map_err(|_| invalid(FEED_URL))?;
                self.feed = Some(Box::new(address));
            }
            "user"
            | "password"
            | "dbname"
            | "options"
            | "application_name"
            | "host"
            | "hostaddr"
            | "port"
            | "connect_timeout"
            | "tcp_user_timeout"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_retries"
            | "target_session_attrs"
            | "channel_binding"
            | "load_balance_hosts" => return Ok(false),
            name if self.tls.take(name, &value).map_err(invalid)? => {}
            _ => return Err(unknown()),
        }
        Ok(true)
    }

    /// Fills what the URL leaves open from the `PG*` variables, `~/.pgpass` and libpq's defaults.
    pub(super) fn complete(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Destination, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut config = self.config.clone();
        if config.get_ports().is_empty() {
            for port in variable("PGPORT").iter().flat_map(|ports| ports.split(',')) {
                config.port(port.trim().parse().map_err(|_| "PGPORT is no port number".to_owned())?);
            }
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let port = config.get_ports().first().copied().unwrap_or(5432);
            for host in variable("PGHOST").unwrap_or_else(|| default_host(port)).split(',') {
                config.host(host);
            }
        }
        if let (None, Some(user)) = (config.get_user(), variable("PGUSER")) {
            config.user(user);
        }
        if let (None, Some(database)) = (config.get_dbname(), variable("PGDATABASE")) {
            config.dbname(database);
        }
        if config.get_application_name().is_none() {
            config.application_name(variable("PGAPPNAME").unwrap_or_else(|| "sessile".to_owned()));
        }
        if config.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD").or_else(|| pass_file(&config, variable))
        {
            config.password(password);
        }
        // As libpq: what stays on the machine is not encrypted.
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let tls = if local && config.get_hostaddrs().is_empty() {
            TlsOptions { mode: Some(SslMode::Disable), ..TlsOptions::default() }
        } else {
            self.tls(variable)?
        };
        config.ssl_mode(tls::of_driver(tls.mode()));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        // A server that is gone without a word is noticed in a minute, not in two hours.
        if config.get_keepalives_idle() == Duration::from_secs(2 * 60 * 60) {
            config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
        }
        let server = server(&config);
        Ok(Destination { config, tls, server })
    }

    /// What the URL says of TLS, and what it leaves to the environment.
    fn tls(&self, variable: impl Fn(&str) -> Option<String>) -> Result<TlsOptions, String> {
        let mut tls = self.tls.clone();
        if let (None, Some(text)) = (tls.mode, variable("PGSSLMODE")) {
            let mode = SslMode::parse(&text);
            tls.mode = Some(mode.ok_or_else(|| "PGSSLMODE is no mode that there is".to_owned())?);
        }
        let file = |name: &str| variable(name).map(PathBuf::from);
        tls.roots = tls.roots.or_else(|| file("PGSSLROOTCERT"));
        // A key belongs to its certificate: both from the URL, or both from the environment.
        if tls.certificate.is_none() && tls.key.is_none() {
            (tls.certificate, tls.key) = (file("PGSSLCERT"), file("PGSSLKEY"));
        }
        Ok(tls)
    }
}

/// Its own problem may hold a piece of a password, for it is a URL inside of a URL.
const FEED_URL: &str = "feed_url is no PostgreSQL URL, percent-encoded as the value of an option: \
    postgres%3A%2F%2Fhost%2Fdatabase";

fn invalid(problem: impl Into<String>) -> StoreUrlError {
    StoreUrlError::Invalid { store: super::fault::NAME, problem: problem.into() }
}

/// The URL again, without what follows the user's name.
fn shown(user: Option<&str>, hosts: &str, path: &str, options: &str) -> String {
    let user = match user.map(|user| user.split(':').next().unwrap_or_default()) {
        Some(user) => format!("{user}@"),
        None => String::new(),
    };
    let options: Vec<&str> = options.split('&').filter(|it| !it.is_empty() && !is_secret(it)).collect();
    let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("postgres://{user}{hosts}{path}{options}")
}

/// The socket of a server on this machine, where there is one.
fn default_host(port: u16) -> String {
    let sockets = ["/var/run/postgresql", "/tmp"];
    let socket = sockets.iter().find(|folder| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists());
    (*socket.unwrap_or(&"localhost")).to_owned()
}

/// Hosts with their ports.
fn hosts(config: &Config) -> Vec<(String, u16)> {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    });
    let names: Vec<String> = match config.get_hosts() {
        [] => config.get_hostaddrs().iter().map(ToString::to_string).collect(),
        _ => named.collect(),
    };
    names.into_iter().enumerate().map(|(at, name)| (name, port(at))).collect()
}

fn server(config: &Config) -> String {
    let hosts: Vec<String> = hosts(config).iter().map(|(name, port)| format!("{name}:{port}")).collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

/// The password that `~/.pgpass` has for the first host; a file that others can read is not read.
fn pass_file(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let path = variable("PGPASSFILE")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".pgpass")))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if path.metadata().ok()?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "ignored: others can read it, chmod 600 it");
            return None;
        }
    }
    let (host, port) = hosts(config).into_iter().next()?;
    // libpq calls the default socket localhost.
    let host = if host.starts_with('/') { "localhost".to_owned() } else { host };
    let user = config.get_user().map(str::to_owned).or_else(|| variable("USER"))?;
    let database = config.get_dbname().unwrap_or(&user);
    let wanted = [&*host, &*port.to_string(), database, &*user].map(str::to_owned);
    std::fs::read_to_string(path).ok()?.lines().find_map(|line| password_in(line, &wanted))
}

/// The fifth field, if the first four match. A backslash takes away a colon's meaning.
fn password_in(line: &str, wanted: &[String; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    let password = fields.pop().filter(|_| fields.len() == 4)?;
    fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted).then_some(password)
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

    fn password(url: &str) -> String {
        let config = Address::parse(url).unwrap().config;
        String::from_utf8(config.get_password().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_password_has_any_character() {
        assert_eq!(password("postgres://ada:p%40%3A%2F%3F%23%25%20%C3%A9%26=@h/d"), "p@:/?#% é&=");
        assert_eq!(password("postgres://ada:p@ss:w#rd%@h/d?table=t"), "p@ss:w#rd%");
        assert_eq!(password("postgres://ada@h/d?password=p%26%40&application_name=a%40b"), "p&@");
    }

    /// [S14]
    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ada:hunter2@h:1/d?table=t",
            "postgres://ada@h:1/d?password=hunter2&table=t",
            "postgres://ada@h:1/d?pass%77ord=hunter2&table=t",
            "postgres://ada@h:1/d?feed_url=postgres%3A%2F%2Fada%3Ahunter2%40h%2Fd&table=t",
        ] {
            let shown = match Address::parse(url) {
                Ok(address) => format!("{address} {address:?} {:?}", address.config),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        // Not encoded, so that it looks like something else.
        for url in [
            "postgres://ada:/hunter2@h/d",
            "postgres://ada:?hunter2@h/d",
            "postgres://ada:?hunter2=x@h/d",
            "postgres://ada:x?hunter2!=3@h/d",
            "postgres://ada:x@y?hunter2=3@h/d",
            "postgres://ada:hunter2:x/y@h/d",
            "postgres://ada:x@h/d?hunter2!=1",
            "postgres://ada:x@h/d?connections=hunter2",
            "postgres://ada:x@h/d?sslmode=hunter2",
            "postgres://ada:x@h/d?port=hunter2",
            "postgres://ada:x@h/d?pooler=hunter2",
            "postgres://ada:x@h/d?feed_url=hunter2",
            "postgres://ada:x@h/d?feed_url=postgres%3A%2F%2Fada%3A%2Fhunter2%40h%2Fd",
            "mysql:hunter2",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn takes_its_own_options_off() {
        let address =
            Address::parse("postgresql://h1:1,h2:2/d?table=a%20b&schema=s&connections=3&sslmode=verify-full")
                .unwrap();
        assert_eq!((address.table.as_deref(), address.schema.as_deref()), (Some("a b"), Some("s")));
        assert_eq!((address.connections, address.tls.mode), (Some(3), Some(SslMode::VerifyFull)));
        assert_eq!(server(&address.config), "h1:1,h2:2/d");
        let both = Address::parse("postgres://h/d?ssl-ca=a%20b+c&ssl-mode=verify_identity").unwrap().tls;
        let same = TlsOptions {
            mode: Some(SslMode::VerifyFull),
            roots: Some("a b+c".into()),
            ..TlsOptions::default()
        };
        assert_eq!(both, same);
        let named = Address::parse("postgres://h/d?table=a%20b%2Bc+d&application_name=e%20f+g").unwrap();
        assert_eq!(
            (named.table.as_deref(), named.config.get_application_name()),
            (Some("a b+c+d"), Some("e f+g"))
        );
        let error = Address::parse("postgres://h/d?tabel=t").unwrap_err().to_string();
        assert!(error.starts_with("unknown option \"tabel\""), "{error}");
    }

    #[test]
    fn the_environment_fills_what_is_left_open() {
        let environment = |name: &str| {
            let value = match name {
                "PGHOST" => "db.example",
                "PGPORT" => "6432",
                "PGUSER" => "ada",
                "PGPASSWORD" => "s",
                "PGDATABASE" => "shop",
                "PGSSLMODE" => "require",
                "PGAPPNAME" => "web",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let all = Address::parse("postgres://").unwrap().complete(environment).unwrap();
        assert_eq!((&*all.server, all.tls.mode()), ("db.example:6432/shop", SslMode::Require));
        let config = all.config;
        assert_eq!(
            (config.get_user(), config.get_password(), config.get_application_name()),
            (Some("ada"), Some(&b"s"[..]), Some("web"))
        );
        let named = Address::parse("postgres://bob:p@h:1/d?sslmode=disable").unwrap();
        let named = named.complete(environment).unwrap();
        assert_eq!((&*named.server, named.tls.mode()), ("h:1/d", SslMode::Disable));
        assert_eq!(named.config.get_user(), Some("bob"));
        let socket = Address::parse("postgres:///d?host=/tmp").unwrap().complete(environment).unwrap();
        assert_eq!((&*socket.server, socket.tls.mode()), ("/tmp:6432/d", SslMode::Disable));
    }

    #[test]
    fn the_password_file_is_read_as_libpq_does() {
        let wanted = ["h", "5432", "d:b", "ada"].map(str::to_owned);
        for (line, password) in [
            ("h:5432:d\\:b:ada:s\\:e\\\\c:ret", Some("s:e\\c:ret")),
            ("*:*:*:*:x", Some("x")),
            ("h:1:*:ada:x", None),
            ("#h:5432:*:ada:x", None),
            ("h:5432:*:ada", None),
            ("", None),
        ] {
            assert_eq!(password_in(line, &wanted).as_deref(), password, "{line}");
        }
    }
}
