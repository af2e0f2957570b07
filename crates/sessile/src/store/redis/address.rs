//! The store URL: where the server is and who we are there. The password is kept beside what is shown, and
//! is never part of it.

use std::fmt;
use std::path::PathBuf;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use super::fault::NAME;
use crate::store::StoreUrlError;
use crate::store::host::host_and_port;
use crate::store::percent::decoded;
use crate::store::url::{AMBIGUOUS, is_ambiguous, option_name};

const PORT: u16 = 6379;

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The URL without its password.
    shown: String,
    pub(super) cluster: bool,
    pub(super) tls: bool,
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    database: i64,
    pub(super) prefix: Option<String>,
    pub(super) root_certificate: Option<PathBuf>,
}

impl Address {
    /// Reads `redis://user:password@host:port/database?option=value`, `rediss://`, and
    /// `redis-cluster://user:password@host:port,host:port?option=value`.
    pub(crate) fn parse(url: &str) -> Result<Address, StoreUrlError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        let (cluster, tls) = match scheme {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis-cluster" => (true, false),
            "rediss-cluster" => (true, true),
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
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (word("user", user)?, word("password", password)?),
            None => (None, None),
        };
        let mut address = Address {
            shown: String::new(),
            cluster,
            tls,
            hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
            user,
            password,
            database: database(path)?,
            prefix: None,
            root_certificate: None,
        };
        if !cluster && address.hosts.len() > 1 {
            return Err(invalid("one host, or redis-cluster:// for the nodes of a Cluster"));
        }
        if cluster && address.database != 0 {
            return Err(invalid("a Cluster has the database 0 alone"));
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            address.option(option, options)?;
        }
        address.shown = address.show(scheme, hosts, options);
        Ok(address)
    }

    fn option(&mut self, option: &str, all: &str) -> Result<(), StoreUrlError> {
        let unknown = || StoreUrlError::UnknownOption { option: option_name(option, all).to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        let value = decoded(value)
            .ok_or_else(|| invalid(format!("the option {} is not UTF-8", option_name(option, all))))?;
        match key {
            "prefix" if !value.is_empty() => self.prefix = Some(value),
            "sslrootcert" if !value.is_empty() => self.root_certificate = Some(value.into()),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn show(&self, scheme: &str, hosts: &str, options: &str) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let database = if self.database == 0 { String::new() } else { format!("/{}", self.database) };
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        format!("{scheme}://{user}{hosts}{database}{options}")
    }

    /// How to reach each of the hosts.
    pub(super) fn nodes(&self) -> Result<Vec<ConnectionInfo>, redis::RedisError> {
        let mut redis =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(self.database);
        if let Some(user) = &self.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password);
        }
        let info = |(host, port): &(String, u16)| {
            let (host, port) = (host.clone(), *port);
            let address = match self.tls {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            };
            let info = address.into_connection_info()?;
            // Small requests leave at once.
            let tcp = TcpSettings::default().set_nodelay(true);
            Ok(info.set_redis_settings(redis.clone()).set_tcp_settings(tcp))
        };
        self.hosts.iter().map(info).collect()
    }

    /// `host:port/database`, or the hosts of a Cluster.
    pub(super) fn server(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let hosts = hosts.join(",");
        if self.cluster { hosts } else { format!("{hosts}/{}", self.database) }
    }
}

fn invalid(problem: impl Into<String>) -> StoreUrlError {
    StoreUrlError::Invalid { store: NAME, problem: problem.into() }
}

/// Percent-decoded; `None` when there is nothing.
fn word(name: &str, text: &str) -> Result<Option<String>, StoreUrlError> {
    let text = decoded(text).ok_or_else(|| invalid(format!("the {name} is not UTF-8")))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// This machine when none is named.
fn host(text: &str) -> Result<(String, u16), StoreUrlError> {
    let (name, port) = host_and_port(text, PORT).map_err(invalid)?;
    Ok((if name.is_empty() { "127.0.0.1".to_owned() } else { name }, port))
}

fn database(path: &str) -> Result<i64, StoreUrlError> {
    let number = path.trim_start_matches('/');
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
        ] {
            assert_eq!(Address::parse(url).unwrap().password.as_deref(), Some(password));
        }
    }

    /// [S14]
    #[test]
    fn a_password_is_never_shown() {
        for url in ["redis://ada:hunter2@h:1/2?prefix=t:", "redis-cluster://:hunter2@h,h2:3"] {
            let address = Address::parse(url).unwrap();
            assert!(!format!("{address} {address:?} {}", address.server()).contains("hunter2"));
        }
        for wrong in ["redis://h?hunter2@x=1", "redis://:hunter2/@h", "redis://h?prefix=a&pass@hunter2=1"] {
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
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.to_string().as_str(), address.server().as_str()), (shown, server));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, says) in [
            ("redis://a,b", "one host, or redis-cluster://"),
            ("redis-cluster://a/1", "a Cluster has the database 0 alone"),
            ("redis://h:port", "the port is no number"),
            ("redis://h/x", "the database is no number"),
            ("redis://h?table=x", "unknown option \"table\""),
            ("redis://h?prefix=", "unknown option \"prefix\""),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
