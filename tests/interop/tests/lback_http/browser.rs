//! A browser: one jar of cookies for all ports of this host, as browsers have it, and forms with a token.

use std::sync::Arc;

use serde_json::Value;
use sessile::SessionId;
use sessile::record::{ManualClock, Timestamp};
use sessile_interop::{Agent, Reply};

use crate::application::TOKEN_FIELD;

/// Both sides' name for the cookie.
const COOKIE: &str = "session_id";

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lback,
    Sessile,
}

pub(crate) use Side::{Lback, Sessile};

/// Either may be the one that begins.
pub(crate) const BOTH_WAYS: [(Side, Side); 2] = [(Lback, Sessile), (Sessile, Lback)];

#[derive(Clone)]
pub(crate) struct Browser {
    /// The ports of the two services.
    ports: [u16; 2],
    agent: Agent,
}

impl Browser {
    pub(crate) fn new(ports: [u16; 2], clock: Arc<ManualClock>) -> Browser {
        Browser { ports, agent: Agent::new(clock) }
    }

    pub(crate) async fn get(&mut self, side: Side, path: &str) -> Reply {
        self.agent.get(self.ports[side as usize], path).await
    }

    /// A form, as it stands.
    pub(crate) async fn post(&mut self, side: Side, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.agent.post(self.ports[side as usize], path, fields).await
    }

    /// The form's page from `page`, and then the form, sent to `to`.
    pub(crate) async fn submit(
        &mut self,
        (page, to): (Side, Side),
        path: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        let token = self.get(page, "/token").await;
        assert_eq!(token.status, 200, "{}", token.body);
        let fields = [fields, &[(TOKEN_FIELD, token.body.as_str())]].concat();
        self.post(to, path, &fields).await
    }

    /// Signs in with a form of this service itself.
    pub(crate) async fn sign_in(&mut self, side: Side, user: &str) {
        let reply = self.submit((side, side), "/sign-in", &[("user", user)]).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "signed in"));
    }

    /// Who is signed in there, and what the session holds.
    pub(crate) async fn shown(&mut self, side: Side) -> Value {
        self.get(side, "/show").await.json()
    }

    /// Who is signed in there.
    pub(crate) async fn user(&mut self, side: Side) -> Option<String> {
        self.shown(side).await["user"].as_str().map(str::to_owned)
    }

    /// The session that the cookie names.
    pub(crate) fn id(&self) -> Option<SessionId> {
        self.agent.cookie(COOKIE).map(|value| value.parse().unwrap())
    }

    /// When the browser will drop the cookie.
    pub(crate) fn keeps_until(&self) -> Option<Timestamp> {
        self.agent.keeps_until(COOKIE)
    }

    /// Heeds no dates from here on: what somebody does who has copied the cookies.
    pub(crate) fn keeps_everything(&mut self) {
        self.agent.keeps_everything();
    }

    /// Has this value in the cookie.
    pub(crate) fn holds(&mut self, value: &str) {
        self.agent.holds(COOKIE, value);
    }
}
