//! What others have set on the server that matters to sessions: looked at once, when the store is opened.

use redis::Value;

use super::Inner;
use super::call::{self, Request, made};
use super::fault::{Fault, RIGHTS};
use super::keys::bucket_of;
use super::row::bytes;
use super::server::ServerInfo;
use crate::record::{SessionId, UserId};

/// Everything that the store sends, also from within a script. A configuration can rename any of these.
const COMMANDS: [&str; 21] = [
    "DEL",
    "EVAL",
    "EVALSHA",
    "EXISTS",
    "HDEL",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HMGET",
    "HSET",
    "HSTRLEN",
    "PEXPIREAT",
    "PING",
    "TIME",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZREM",
];

impl Inner {
    /// Refuses a server on which a write could fail half-way: where a command is missing, or where the user may
    /// write some of the keys and not others. Nothing is written, and a server that does not tell is trusted.
    pub(super) async fn check_server(&self) -> Result<(), Fault> {
        let missing = self.missing_commands().await;
        if !missing.is_empty() {
            return Err(Fault::Unfit {
                problem: format!("{} does not know {}", self.place.server, missing.join(", ")),
                remedy:
                    "remove `rename-command` for these from redis.conf, or use Redis 6.2 or later, or Valkey"
                        .to_owned(),
            });
        }
        match self.denied().await.first() {
            Some(denied) => Err(Fault::Unfit {
                problem: format!("the user of the store URL may not run {denied} in {}", self.place.server),
                remedy: RIGHTS.to_owned(),
            }),
            None => Ok(()),
        }
    }

    async fn missing_commands(&self) -> Vec<&'static str> {
        let words = [&["COMMAND", "INFO"][..], &COMMANDS].concat();
        match self.link.ask(call::plain(&words)).await {
            Ok(Value::Array(known)) if known.len() == COMMANDS.len() => {
                let known = COMMANDS.into_iter().zip(known);
                known.filter(|(_, known)| *known == Value::Nil).map(|(command, _)| command).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A command and a key that scripts would meet.
    async fn denied(&self) -> Vec<String> {
        let id = SessionId::from_bytes([0; 16]);
        let bucket = bucket_of(id);
        let mut arguments = vec![self.keys.row(id), self.keys.ids(bucket), self.keys.expiries(bucket)];
        // Any name will do.
        arguments.push(self.keys.user(&UserId::stored("user")));
        let request = Request::Script {
            script: &call::CHECK_RIGHTS,
            keys: Vec::new(),
            arguments: arguments.into_iter().map(made).collect(),
        };
        let mut denied = Vec::new();
        // A user who may run no script writes nothing.
        if let Ok(answer) = self.link.ask(request).await {
            strings(answer, &mut denied);
        }
        denied
    }

    /// What the server has this setting at; nothing where it does not tell. In a Cluster one node answers.
    pub(super) async fn setting(&self, setting: &str) -> Vec<String> {
        let answer = self.link.ask(call::plain(&["CONFIG", "GET", setting])).await;
        let mut texts = Vec::new();
        if let Ok(value) = answer {
            strings(value, &mut texts);
        }
        texts.retain(|text| text != setting);
        texts
    }

    /// `INFO` of the server, or of all primaries of the Cluster.
    pub(super) async fn info(&self) -> Result<Vec<ServerInfo>, Fault> {
        let mut texts = Vec::new();
        for told in self.link.ask_all(call::plain(&["INFO"])).await {
            strings(told?, &mut texts);
        }
        Ok(ServerInfo::all(&texts))
    }

    /// Logs why sessions may be lost. A server that does not tell its settings is trusted.
    pub(super) async fn warn_of_settings(&self) {
        let server = &*self.place.server;
        let nodes = self.info().await.unwrap_or_default();
        if let Some(policy) = nodes.iter().find_map(eviction) {
            tracing::warn!(
                server,
                maxmemory_policy = policy,
                "under memory pressure Redis will sign people out: set maxmemory-policy to noeviction"
            );
        }
        if nodes.iter().any(|node| node.field("aof_enabled") == Some("0")) {
            tracing::warn!(
                server,
                "after a restart Redis will have forgotten sessions, and logouts: set appendonly to yes"
            );
        } else if self.setting("appendfsync").await.iter().any(|sync| sync == "everysec" || sync == "no") {
            tracing::warn!(
                server,
                "a crash of Redis can undo the last logouts: set appendfsync to always where that matters"
            );
        }
    }
}

/// The policy by which a server removes what may still be needed, those included that later versions invent.
pub(super) fn eviction(node: &ServerInfo) -> Option<&str> {
    node.field("maxmemory_policy").filter(|policy| *policy != "noeviction")
}

/// All strings in an answer.
pub(super) fn strings(value: Value, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.into_iter().for_each(|value| strings(value, into)),
        Value::Map(pairs) => pairs.into_iter().for_each(|(name, value)| {
            strings(name, into);
            strings(value, into);
        }),
        Value::VerbatimString { text, .. } => into.push(text),
        value => into.extend(bytes(value).and_then(|text| String::from_utf8(text).ok())),
    }
}
