//! What a server says of itself.

use std::collections::HashMap;

use redis::Value;

use super::connect::Endpoint;
use super::fault::Fault;
use super::settings::strings;

/// The lines of `INFO`; empty where the user may not ask.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerInfo(HashMap<String, String>);

impl ServerInfo {
    /// From answers to `INFO`, errors among them.
    pub(super) fn read(answers: impl IntoIterator<Item = Value>) -> ServerInfo {
        let mut texts = Vec::new();
        answers.into_iter().for_each(|answer| strings(answer, &mut texts));
        ServerInfo::of(&texts.concat())
    }

    pub(super) fn of(text: &str) -> ServerInfo {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        ServerInfo(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// One for each text that is the `INFO` of a server.
    pub(super) fn all(texts: &[String]) -> Vec<ServerInfo> {
        let infos = texts.iter().map(|text| ServerInfo::of(text));
        infos.filter(|info| info.field("redis_version").is_some()).collect()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `?` where the server does not tell.
    pub(super) fn get(&self, name: &str) -> &str {
        self.field(name).unwrap_or("?")
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Name and version: `Valkey 9.0.0`. A server that only speaks as Redis does tells the version of Redis,
    /// too.
    pub(super) fn product(&self) -> Option<String> {
        let named = self.field("server_name").filter(|name| *name != "redis");
        let own = named.and_then(|name| Some((name, self.field(&format!("{name}_version"))?)));
        match own {
            Some((name, version)) => {
                let mut letters = name.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                Some(format!("{}{} {version}", first.into_iter().collect::<String>(), letters.as_str()))
            }
            None => self.field("redis_version").map(|version| format!("Redis {version}")),
        }
    }

    /// Tells this process of the server from all others, those before a restart included.
    pub(super) fn run_id(&self) -> Option<&str> {
        self.field("run_id")
    }

    pub(super) fn is_replica(&self) -> bool {
        self.field("role") == Some("slave")
    }

    /// `standalone`, `cluster` or `sentinel`.
    pub(super) fn mode(&self) -> Option<&str> {
        // Redis' word, and Valkey's.
        self.field("redis_mode").or_else(|| self.field("server_mode"))
    }

    /// Whether the server is older than Redis 6.2. Others tell the version of Redis that they stand for.
    pub(super) fn is_too_old(&self) -> bool {
        let mut numbers = self.get("redis_version").split('.').map_while(|part| part.parse::<u32>().ok());
        (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0)) < (6, 2)
    }

    pub(super) fn check_version(&self, endpoint: &Endpoint) -> Result<(), Fault> {
        if !self.is_too_old() {
            return Ok(());
        }
        let product = self.product().unwrap_or_default();
        Err(Fault::Unfit {
            problem: format!("{product} at {endpoint} is too old"),
            remedy: "use Redis 6.2 or later, or Valkey".to_owned(),
        })
    }

    /// Refuses what the URL of a single server cannot name.
    pub(super) fn check_mode(&self, endpoint: &Endpoint) -> Result<(), Fault> {
        let (problem, remedy) = match self.mode() {
            Some("cluster") => ("is a node of a Cluster", "write redis-cluster:// in the store URL"),
            Some("sentinel") => {
                ("is a Sentinel", "write redis-sentinel://HOST,HOST/NAME, the name of the primary")
            }
            _ => return Ok(()),
        };
        Err(Fault::Unfit { problem: format!("{endpoint} {problem}"), remedy: remedy.to_owned() })
    }

    /// A replica may be behind, and what is written to it is lost.
    pub(super) fn check_primary(&self, endpoint: &Endpoint) -> Result<(), Fault> {
        if !self.is_replica() {
            return Ok(());
        }
        let (host, port) = (self.get("master_host"), self.get("master_port"));
        Err(Fault::Away(format!(
            "{endpoint} is a replica of {host}:{port}: name that one, or the sentinels with redis-sentinel://"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [R19]
    #[test]
    fn a_server_is_named_as_what_it_is() {
        for (told, product) in [
            ("redis_version:7.0.15\r\n", "Redis 7.0.15"),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.0\r\n", "Valkey 9.0.0"),
            ("redis_version:7.2.4\r\nserver_name:redis\r\n", "Redis 7.2.4"),
            ("redis_version:7.2.4\r\nserver_name:other\r\n", "Redis 7.2.4"),
        ] {
            assert_eq!(ServerInfo::of(told).product().as_deref(), Some(product));
        }
        assert_eq!(ServerInfo::default().product(), None);
    }

    #[test]
    fn an_old_server_or_a_replica_or_another_mode_is_refused() {
        let here = Endpoint::Tcp("h".to_owned(), 1);
        let check = |told: &str| {
            let info = ServerInfo::of(told);
            let fit = info.check_version(&here).and_then(|()| info.check_mode(&here));
            fit.and_then(|()| info.check_primary(&here))
        };
        for good in ["", "redis_version:6.2.0\r\nrole:master\r\nredis_mode:standalone"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["redis_version:6.0.16", "role:slave", "redis_mode:cluster", "server_mode:sentinel"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
