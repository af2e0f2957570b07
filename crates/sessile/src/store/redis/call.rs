//! Commands and scripts on their way.

use std::borrow::Cow;
use std::sync::LazyLock;

use redis::Cmd;

/// A script, by its text and by the name that a server remembers it under.
pub(super) struct Script {
    name: &'static str,
    text: String,
    hash: String,
}

impl Script {
    fn new(name: &'static str, parts: &[&str]) -> Script {
        let text = parts.concat();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Script { name, text, hash }
    }
}

macro_rules! scripts {
    ($($script:ident = $($part:literal),+;)*) => {
        $(pub(super) static $script: LazyLock<Script> =
            LazyLock::new(|| Script::new(stringify!($script), &[$(include_str!($part)),+]));)*
    };
}

scripts! {
    INSERT = "lua/begin.lua", "lua/row.lua", "lua/insert.lua";
    UPDATE = "lua/begin.lua", "lua/update.lua", "lua/row.lua", "lua/update_others.lua";
    TOUCH = "lua/begin.lua", "lua/row.lua", "lua/touch.lua";
    DELETE = "lua/begin.lua", "lua/row.lua", "lua/delete.lua";
    ROTATE = "lua/begin.lua", "lua/row.lua", "lua/others.lua", "lua/rotate.lua";
    PREPARE = "lua/begin.lua", "lua/row.lua", "lua/prepare.lua";
    DECIDE = "lua/begin.lua", "lua/others.lua", "lua/decide.lua";
    FINISH = "lua/begin.lua", "lua/finish.lua";
    FORGET = "lua/begin.lua", "lua/forget.lua";
    PURGE = "lua/purge.lua";
    DELETE_USER = "lua/delete_user.lua";
    PRUNE = "lua/prune.lua";
    PRUNE_USER = "lua/prune_user.lua";
    CHECK_RIGHTS = "lua/check_rights.lua";
}

/// An argument: borrowed where it may be large.
pub(super) type Argument<'a> = Cow<'a, [u8]>;

/// Text that is at hand.
pub(super) fn lent(text: &str) -> Argument<'_> {
    Cow::Borrowed(text.as_bytes())
}

/// Text that was made.
pub(super) fn made(text: impl ToString) -> Argument<'static> {
    Cow::Owned(text.to_string().into_bytes())
}

/// One request, which can be written down again.
pub(super) enum Request<'a> {
    Plain(Cmd),
    Script { script: &'static LazyLock<Script>, keys: Vec<String>, arguments: Vec<Argument<'a>> },
}

impl Request<'_> {
    /// The name for the log: no key, no value.
    pub(super) fn name(&self) -> &str {
        match self {
            Request::Plain(command) => match command.args_iter().next() {
                Some(redis::Arg::Simple(name)) => str::from_utf8(name).unwrap_or_default(),
                _ => "",
            },
            Request::Script { script, .. } => script.name,
        }
    }

    /// The key by which a Cluster finds the node; nothing where any node can answer.
    pub(super) fn key(&self) -> Option<&[u8]> {
        match self {
            Request::Script { keys, .. } => keys.first().map(String::as_bytes),
            Request::Plain(command) => {
                let mut words = command.args_iter().filter_map(|word| match word {
                    redis::Arg::Simple(word) => Some(word),
                    _ => None,
                });
                match words.next()? {
                    b"CLUSTER" | b"COMMAND" | b"CONFIG" | b"INFO" | b"PING" | b"TIME" => None,
                    _ => words.next(),
                }
            }
        }
    }

    /// A script by its hash, which a server forgets when it restarts.
    pub(super) fn command(&self) -> Cow<'_, Cmd> {
        match self {
            Request::Plain(command) => Cow::Borrowed(command),
            Request::Script { script, .. } => Cow::Owned(self.evaluate("EVALSHA", &script.hash)),
        }
    }

    /// A script with its text, which the server remembers from then on.
    pub(super) fn command_in_full(&self) -> Cow<'_, Cmd> {
        match self {
            Request::Plain(command) => Cow::Borrowed(command),
            Request::Script { script, .. } => Cow::Owned(self.evaluate("EVAL", &script.text)),
        }
    }

    fn evaluate(&self, how: &str, script: &str) -> Cmd {
        let mut command = Cmd::new();
        if let Request::Script { keys, arguments, .. } = self {
            let bytes = keys.iter().map(String::len).chain(arguments.iter().map(|argument| argument.len()));
            command = Cmd::with_capacity(keys.len() + arguments.len() + 3, bytes.sum::<usize>() + 64);
            command.arg(how).arg(script).arg(keys.len());
            for key in keys {
                command.arg(key);
            }
            for argument in arguments {
                command.arg(&**argument);
            }
        }
        command
    }
}

/// A plain command of words.
pub(super) fn plain(words: &[&str]) -> Request<'static> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    Request::Plain(command)
}
