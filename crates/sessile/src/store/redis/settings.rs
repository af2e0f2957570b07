//! Settings of the server under which it forgets sessions by itself: told once, on connecting.

use std::collections::BTreeSet;

use redis::Value;

use super::Inner;
use super::call;
use super::row::bytes;

const SETTINGS: [&str; 3] = ["maxmemory-policy", "appendonly", "appendfsync"];

impl Inner {
    /// What the server has this setting at; nothing where it does not tell. In a Cluster one node answers.
    pub(super) async fn setting(&self, setting: &str) -> BTreeSet<String> {
        let answer = self.link.ask(call::plain(&["CONFIG", "GET", setting])).await;
        let mut texts = Vec::new();
        if let Ok(value) = answer {
            strings(value, &mut texts);
        }
        texts.into_iter().filter(|text| text != setting).collect()
    }

    /// Logs what sessions have to fear. A server that does not tell its settings is believed.
    pub(super) async fn warn_of_settings(&self) {
        let server = &*self.place.server;
        let values = |setting| self.setting(setting);
        let [policy, log, sync] = SETTINGS;
        for policy in values(policy).await.iter().filter(|it| KNOWN_POLICIES.contains(&it.as_str())) {
            tracing::warn!(
                server,
                maxmemory_policy = %policy,
                "under memory pressure Redis will sign people out: set maxmemory-policy to noeviction"
            );
        }
        if values(log).await.contains("no") {
            tracing::warn!(
                server,
                "after a restart Redis will have forgotten sessions, and logouts: set appendonly to yes"
            );
        } else if values(sync).await.iter().any(|sync| sync == "everysec" || sync == "no") {
            tracing::warn!(
                server,
                "a crash of Redis can undo the last logouts: set appendfsync to always where that matters"
            );
        }
    }
}

/// Those that remove what somebody may still need.
pub(super) const KNOWN_POLICIES: [&str; 7] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

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
