//! The store URL: where the servers are and which credentials they take. Passwords are kept beside what is
//! shown, and are never part of it.

use std::fmt;
use std::path::PathBuf;

use super::connect::{Endpoint, Login};
use super::fault::NAME;
use crate::store::StoreUrlError;
use crate::store::host::host_and_port;
use crate::store::percent::decoded;
use crate::store::tls::{SslMode, TlsOptions};
use crate::store::url::{AMBIGUOUS, is_ambiguous, is_secret, option_name};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How the servers that a URL names work together.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Topology {
    /// One server.
    Single,
    /// Sentinels that know the address of the primary of this name.
    Sentinel { primary: String },
    /// Nodes of a Cluster.
    Cluster,
}

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The URL without its passwords.
    shown: String,
    pub(super) topology: Topology,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) login: Login,
    /// What the sentinels take.
    pub(super) sentinel_login: Login,
    pub(super) database: i64,
    pub(super) prefix: Option<String>,
    /// `None` where the connection is not encrypted.
    pub(super) tls: Option<TlsOptions>,
}

impl Address {
    /// Reads `redis://user:password@host:port/database?option=value`,
    /// `redis-sentinel://user:password@host:port,host:port/primary/database?option=value`,
    /// `redis-cluster://user:password@host:port,host:port?option=value`, the same with `rediss`, and
    /// `redis+unix://user:password@/path?option=value`.
    pub(crate) fn parse(url: &str) -> Result<Address, StoreUrlError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        let is_socket = matches!(scheme, "redis+unix" | "unix");
        let kind = if is_socket { "redis" } else { scheme.strip_prefix("rediss").unwrap_or(scheme) };
        let topology = match kind.strip_prefix("redis").unwrap_or(kind) {
            "" => Topology::Single,
            "-sentinel" => Topology::Sentinel { primary: String::new() },
            "-cluster" => Topology::Cluster,
            _ => return Err(StoreUrlError::UnknownScheme { scheme: scheme.to_owned() }),
        };
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
            shown: String::new(),
            topology,
            endpoints: Vec::new(),
            login: login(user)?,
            sentinel_login: Login::default(),
            database: 0,
            prefix: None,
            tls: scheme.starts_with("rediss").then(verified),
        };
        if is_socket {
            address.read_socket(hosts, path)?
        } else {
            address.read_hosts(hosts, path)?
        }
        let all = options;
        let options: Vec<&str> = all.split('&').filter(|option| !option.is_empty()).collect();
        for option in &options {
            address.option(option, all)?;
        }
        address.check()?;
        address.shown = address.show(scheme, hosts, path, &options);
        Ok(address)
    }

    fn read_socket(&mut self, host: &str, path: &str) -> Result<(), StoreUrlError> {
        if !host.is_empty() || path.len() < 2 {
            return Err(invalid("expected the path of a socket: redis+unix:///run/redis/redis.sock"));
        }
        let path = decoded(path).ok_or_else(|| invalid("the path is not UTF-8"))?;
        self.endpoints = vec![Endpoint::Unix(PathBuf::from(path))];
        Ok(())
    }

    fn read_hosts(&mut self, hosts: &str, path: &str) -> Result<(), StoreUrlError> {
        let is_sentinel = matches!(self.topology, Topology::Sentinel { .. });
        let port = if is_sentinel { SENTINEL_PORT } else { PORT };
        self.endpoints = hosts.split(',').map(|text| host(text, port)).collect::<Result<_, _>>()?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let database = match &mut self.topology {
            Topology::Sentinel { primary } => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                *primary = decoded(name).ok_or_else(|| invalid("the name of the primary is not UTF-8"))?;
                database
            }
            Topology::Single | Topology::Cluster => path,
        };
        self.database = number(database)?;
        Ok(())
    }

    /// What the parts mean together.
    fn check(&self) -> Result<(), StoreUrlError> {
        match &self.topology {
            Topology::Single if self.endpoints.len() > 1 => Err(invalid(
                "one host, or redis-cluster:// for the nodes of a Cluster, or redis-sentinel:// for sentinels",
            )),
            Topology::Sentinel { primary } if primary.is_empty() => Err(invalid(
                "expected the name of the primary that the sentinels watch: redis-sentinel://HOST,HOST/NAME",
            )),
            Topology::Cluster if self.database != 0 => Err(invalid("a Cluster has the database 0 alone")),
            Topology::Single | Topology::Cluster if self.sentinel_login != Login::default() => {
                Err(invalid("sentinel_user and sentinel_password belong to redis-sentinel://"))
            }
            _ => Ok(()),
        }
    }

    fn option(&mut self, option: &str, all: &str) -> Result<(), StoreUrlError> {
        let unknown = || StoreUrlError::UnknownOption { option: option_name(option, all).to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        let value = decoded(value)
            .ok_or_else(|| invalid(format!("the option {} is not UTF-8", option_name(option, all))))?;
        if value.is_empty() {
            return Err(unknown());
        }
        match key {
            "prefix" => self.prefix = Some(value),
            "db" if self.topology != Topology::Cluster => self.database = number(&value)?,
            "user" | "username" => self.login.user = Some(value),
            "pass" | "password" => self.login.password = Some(value),
            "sentinel_user" | "sentinel_username" => self.sentinel_login.user = Some(value),
            "sentinel_password" => self.sentinel_login.password = Some(value),
            _ => return self.tls_option(key, &value).ok_or_else(unknown)?,
        }
        Ok(())
    }

    /// As redis-py, libpq and MySQL's clients spell them; `None` where the option is another one.
    fn tls_option(&mut self, key: &str, value: &str) -> Option<Result<(), StoreUrlError>> {
        let is_encrypted = self.tls.is_some();
        let tls = self.tls.get_or_insert_default();
        let taken = match key {
            "ssl_cert_reqs" | "ssl_check_hostname" => verify(tls, key, value).map(|()| true),
            "ssl_ca_certs" => tls.take("sslrootcert", value),
            "ssl_certfile" => tls.take("sslcert", value),
            "ssl_keyfile" => tls.take("sslkey", value),
            _ => tls.take(key, value),
        };
        match taken {
            Ok(false) => None,
            Ok(true) if !is_encrypted => Some(Err(invalid(format!(
                "{key} needs an encrypted connection: write rediss instead of redis"
            )))),
            Ok(true) if matches!(tls.mode(), SslMode::Disable | SslMode::Prefer) => {
                Some(Err(invalid("rediss always encrypts: sslmode is require, verify-ca or verify-full")))
            }
            taken => Some(taken.map(drop).map_err(invalid)),
        }
    }

    fn show(&self, scheme: &str, hosts: &str, path: &str, options: &[&str]) -> String {
        let user = self.login.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let path = match self.topology {
            Topology::Single if self.database == 0 && path.trim_matches('/').is_empty() => "",
            _ => path.trim_end_matches('/'),
        };
        let options: Vec<&str> = options.iter().filter(|option| !is_secret(option)).copied().collect();
        let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
        format!("{scheme}://{user}{hosts}{path}{options}")
    }

    /// `host:port/database`, the path of a socket, or the hosts of several servers.
    pub(super) fn server(&self) -> String {
        let hosts: Vec<String> = self.endpoints.iter().map(Endpoint::to_string).collect();
        let hosts = hosts.join(",");
        match &self.topology {
            Topology::Single => format!("{hosts}/{}", self.database),
            Topology::Sentinel { primary } => format!("{primary}/{} of the sentinels {hosts}", self.database),
            Topology::Cluster => hosts,
        }
    }
}

fn invalid(problem: impl Into<String>) -> StoreUrlError {
    StoreUrlError::Invalid { store: NAME, problem: problem.into() }
}

/// The server has to be the host of the URL, unless an option says otherwise.
fn verified() -> TlsOptions {
    TlsOptions { mode: Some(SslMode::VerifyFull), ..TlsOptions::default() }
}

/// How redis-py says what is verified.
fn verify(tls: &mut TlsOptions, key: &str, value: &str) -> Result<(), &'static str> {
    match (key, value.to_ascii_lowercase().as_str()) {
        ("ssl_cert_reqs", "none") => tls.mode = Some(SslMode::Require),
        ("ssl_check_hostname", "false") => {
            tls.mode =
                tls.mode.map(|mode| if mode == SslMode::VerifyFull { SslMode::VerifyCa } else { mode });
        }
        ("ssl_cert_reqs", "required") | ("ssl_check_hostname", "true") => {}
        ("ssl_cert_reqs", _) => return Err("ssl_cert_reqs is required or none"),
        _ => return Err("ssl_check_hostname is true or false"),
    }
    Ok(())
}

fn login(text: Option<&str>) -> Result<Login, StoreUrlError> {
    let Some(text) = text else { return Ok(Login::default()) };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(Login { user: word("user", user)?, password: word("password", password)? })
}

/// Percent-decoded; `None` when there is nothing.
fn word(name: &str, text: &str) -> Result<Option<String>, StoreUrlError> {
    let text = decoded(text).ok_or_else(|| invalid(format!("the {name} is not UTF-8")))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// This machine when none is named.
fn host(text: &str, port: u16) -> Result<Endpoint, StoreUrlError> {
    let (name, port) = host_and_port(text, port).map_err(invalid)?;
    Ok(Endpoint::Tcp(if name.is_empty() { "127.0.0.1".to_owned() } else { name }, port))
}

fn number(text: &str) -> Result<i64, StoreUrlError> {
    let number = text.trim_matches('/');
    if number.is_empty() {
        return Ok(0);
    }
    let number = number.parse::<u16>().map_err(|_| invalid("the database is no number"))?;
    Ok(number.into())
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

    #[test]
    fn a_password_has_any_character() {
        for (url, password) in [
            ("redis://:p%40%3A%2F%3F%23%25%20%C3%A9%26=@h", "p@:/?#% é&="),
            ("redis://ada:p@ss:w#rd%@h/3?prefix=a:", "p@ss:w#rd%"),
            ("rediss-cluster://ada:%68unter2@h,h2", "hunter2"),
            ("redis-sentinel://ada:hunter2@h,h2/m", "hunter2"),
            ("unix:///run/redis.sock?pass=hunter2%26&db=1", "hunter2&"),
        ] {
            assert_eq!(Address::parse(url).unwrap().login.password.as_deref(), Some(password));
        }
    }

    /// [S14]
    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://ada:hunter2@h:1/2?prefix=t:",
            "redis-cluster://:hunter2@h,h2:3",
            "redis-sentinel://:hunter2@h,h2/m?sentinel_password=hunter2&prefix=t:",
            "redis+unix:///run/redis.sock?password=hunter2",
            "unix://:hunter2@/run/redis.sock?pass=hunter2",
        ] {
            let address = Address::parse(url).unwrap();
            assert!(!format!("{address} {address:?} {}", address.server()).contains("hunter2"));
        }
        for wrong in [
            "redis://h?hunter2@x=1",
            "redis://:hunter2/@h",
            "redis://h?prefix=a&pass@hunter2=1",
            "redis-sentinel://:p@hunter2/1@a,b/m",
            "redis-sentinel://:p@hunter2?1@a,b/m",
            "redis://h?sentinel_password=hunter2",
            "redis://h?ssl_cert_reqs=hunter2",
            "redis+unix://hunter2/run/redis.sock",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_shown_names_the_place() {
        for (url, shown, server) in [
            ("redis://", "redis://", "127.0.0.1:6379/0"),
            ("rediss://ada:x@h:1/2?prefix=t:", "rediss://ada@h:1/2?prefix=t:", "h:1/2"),
            ("redis-cluster://:x@a,b:2", "redis-cluster://a,b:2", "a:6379,b:2"),
            ("redis://[::1]:7/", "redis://[::1]:7", "::1:7/0"),
            ("redis://h?db=3", "redis://h?db=3", "h:6379/3"),
            (
                "redis-sentinel://ada:x@a,b:2/main/3?sentinel_user=s&sentinel_password=y",
                "redis-sentinel://ada@a,b:2/main/3?sentinel_user=s",
                "main/3 of the sentinels a:26379,b:2",
            ),
            ("redis+unix:///run/r.sock?db=1", "redis+unix:///run/r.sock?db=1", "/run/r.sock/1"),
            ("unix:/run/r.sock", "unix:///run/r.sock", "/run/r.sock/0"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.to_string().as_str(), address.server().as_str()), (shown, server));
            assert_eq!(Address::parse(shown).unwrap().to_string(), shown, "what is shown can be read");
        }
    }

    #[test]
    fn options_of_the_encryption_have_the_names_of_other_clients() {
        for (url, mode) in [
            ("rediss://h", SslMode::VerifyFull),
            ("rediss://h?ssl_ca_certs=a.pem", SslMode::VerifyFull),
            ("rediss://h?ssl_cert_reqs=none", SslMode::Require),
            ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false", SslMode::Require),
            ("rediss://h?ssl_check_hostname=False&ssl_cert_reqs=required", SslMode::VerifyCa),
            ("rediss-sentinel://h/m?sslmode=verify-ca", SslMode::VerifyCa),
        ] {
            assert_eq!(Address::parse(url).unwrap().tls.unwrap().mode(), mode, "{url}");
        }
        for url in [
            "rediss://h?ssl_ca_certs=a.pem&ssl_certfile=b.pem&ssl_keyfile=c.pem",
            "rediss://h?sslrootcert=a.pem&sslcert=b.pem&sslkey=c.pem",
            "rediss-cluster://h?ssl-ca=a.pem&ssl-cert=b.pem&ssl-key=c.pem",
        ] {
            let tls = Address::parse(url).unwrap().tls.unwrap();
            let files = [tls.roots, tls.certificate, tls.key].map(Option::unwrap);
            assert_eq!(files, ["a.pem", "b.pem", "c.pem"].map(std::path::PathBuf::from));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, says) in [
            ("redis://a,b", "one host, or redis-cluster://"),
            ("redis-cluster://a/1", "a Cluster has the database 0 alone"),
            ("redis-cluster://a?db=1", "unknown option \"db\""),
            ("redis://h:port", "the port is no number"),
            ("redis://h/x", "the database is no number"),
            ("redis://h?table=x", "unknown option \"table\""),
            ("redis://h?prefix=", "unknown option \"prefix\""),
            ("redis-sentinel://a,b", "the name of the primary"),
            ("redis-sentinel://a,b/m/x", "the database is no number"),
            ("redis-sentry://a", "unknown store \"redis-sentry\""),
            ("redis+unix:", "the path of a socket"),
            ("redis://h?ssl_ca_certs=x", "write rediss instead of redis"),
            ("rediss://h?ssl_cert_reqs=some", "ssl_cert_reqs is required or none"),
            ("rediss://h?sslmode=prefer", "sslmode is require, verify-ca or verify-full"),
            ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname is true or false"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
