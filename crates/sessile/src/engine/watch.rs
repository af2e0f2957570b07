//! Watching sessions: who keeps a connection open is told when its session ends.
//!
//! Whoever ends one, in whatever process: nobody may be left waiting for a session that has ended. So nothing that
//! is said is taken for an end, and nothing that is not said for the lack of one: a session is in doubt when its
//! watch begins, when the store's feed says something of it, when its time is over, and regularly while there is
//! no feed; and each doubt is settled by a load, many of them by one.

mod watchers;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Base, Event, Inner, Meta, Sessions};
use crate::record::SessionId;
use crate::store::{Feed, Loaded, SessionStore, StoreError};

pub(super) use watchers::Watchers;

/// How often watched sessions are looked at where no feed tells of them.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a feed that is only watched for may be silent.
const BOUND: Duration = Duration::from_secs(3);
/// How often the clock is asked, at least: it is not always the one that timers go by.
const TICK: Duration = Duration::from_secs(1);
/// For how long the feed is kept when nobody watches any more.
const LINGER: Duration = Duration::from_secs(60);
/// Rows asked for at once.
const BATCH: usize = 500;

/// Why a watched session is no more, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Its time was over.
    Expired,
    /// It goes on under another id: this process rotated it, by a login or otherwise. The browser that did so has
    /// the new cookie; whoever knew the old one is out.
    Rotated {
        /// What it is called now.
        to: SessionId,
    },
    /// Logged out, revoked or deleted; or rotated by another process, or by this one if the store's feed said so
    /// before the rotation was answered.
    Gone,
}

/// A session that is watched: a future that is ready when the session has ended. Made by
/// [`Sessions::watch`]. Dropping it ends the watch; it can be awaited by `&mut` as often as is needed.
#[must_use = "nobody is told when it is dropped"]
pub struct Watch {
    id: SessionId,
    number: u64,
    told: oneshot::Receiver<Ended>,
    ended: Option<Ended>,
    sessions: Sessions,
}

impl Watch {
    /// Which session.
    pub fn id(&self) -> SessionId {
        self.id
    }
}

impl Future for Watch {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        if let Some(ended) = self.ended {
            return Poll::Ready(ended);
        }
        Pin::new(&mut self.told).poll(context).map(|told| {
            // Whoever would tell is gone only when this is.
            let ended = told.unwrap_or(Ended::Gone);
            self.ended = Some(ended);
            ended
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.sessions.inner.watchers.leave(self.id, self.number);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("id", &self.id).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Waits for the end of a session, whoever ends it and wherever: for websockets and event streams, which
    /// would otherwise outlive the session that opened them.
    ///
    /// ```
    /// # use sessile::{SessionId, Sessions, engine::Ended};
    /// # async fn socket(sessions: Sessions, id: SessionId, mut receive: impl AsyncFnMut() -> String) {
    /// let mut end = sessions.watch(id);
    /// loop {
    ///     tokio::select! {
    ///         ended = &mut end => {
    ///             tracing::info!(?ended, "closing");
    ///             break;
    ///         }
    ///         message = receive() => println!("{message}"),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// What ends in this process is told at once; what ends elsewhere, as soon as the store's feed tells
    /// (PostgreSQL after `sessile init --feed`, Redis), without one, and while it is down, when the watched
    /// sessions are looked at next, every 5 seconds or as
    /// [`watch_interval`](super::SessionsBuilder::watch_interval) says. An expiry counts by the clock of this
    /// service, within a second, and a renewal by anybody puts it off. Watching renews nothing: a session with an
    /// open socket and no requests expires. A session that is not there has ended. While the store cannot be
    /// asked nothing has ended.
    ///
    /// A session that is rotated has ended under its old id: close, and let the browser come back with its new
    /// cookie. After [`login`](crate::Session::login) or [`rotate`](crate::Session::rotate) in the same request,
    /// [`save`](crate::Session::save) first.
    ///
    /// Cost: 1 statement at first for each session, however often it is watched, 0 where the cache has it; 0 while
    /// nothing happens and there is a feed; 1 for up to 500 sessions of which something was said, or that are
    /// looked at.
    ///
    /// Must be called within a tokio runtime.
    pub fn watch(&self, id: SessionId) -> Watch {
        let watchers = &self.inner.watchers;
        let (number, told) = watchers.enter(id);
        watchers.keep_running(|| {
            let watchers = Arc::clone(watchers);
            let has_feed = self.inner.feed.is_some();
            let store = (!has_feed).then(|| Arc::clone(&self.inner.store));
            tokio::spawn(run(watchers, Arc::downgrade(&self.inner), store))
        });
        Watch { id, number, told, ended: None, sessions: self.clone() }
    }

    /// Settles doubts until there are none; whether the store answered.
    async fn settle_doubts(&self) -> bool {
        let watchers = &self.inner.watchers;
        watchers.doubt_those_over(self.now());
        loop {
            let mut ids = watchers.take_doubts(BATCH);
            if ids.is_empty() {
                return true;
            }
            ids.retain(|&id| match self.known(id) {
                Some(base) => {
                    watchers.lives(id, self.policy().end(&base.record, &Meta::of(&base.data)));
                    false
                }
                None => true,
            });
            let loaded = if ids.is_empty() { Ok(Vec::new()) } else { self.load_watched(&ids).await };
            let Ok(loaded) = loaded else {
                watchers.put_back(&ids);
                return false;
            };
            let failed: Vec<SessionId> = ids
                .into_iter()
                .zip(loaded)
                .filter_map(|(id, loaded)| self.settle(id, loaded).err())
                .collect();
            if !failed.is_empty() {
                watchers.put_back(&failed);
                return false;
            }
        }
    }

    /// The live session, if the cache is sure of it.
    fn known(&self, id: SessionId) -> Option<Base> {
        self.inner.cache.as_deref().filter(|cache| cache.is_coherent())?;
        self.kept(id)
    }

    /// On a task of its own: a store that panics must leave nobody waiting.
    async fn load_watched(&self, ids: &[SessionId]) -> Result<Vec<Loaded>, ()> {
        let (store, asked) = (Arc::clone(&self.inner.store), ids.to_vec());
        let loading = tokio::spawn(async move { store.load_many(&asked).await });
        match self.in_time(loading).await {
            Ok(Ok(loaded)) if loaded.len() == ids.len() => Ok(loaded),
            _ => Err(()),
        }
    }

    /// What a row says of its watchers' doubt; the id again if it says nothing.
    fn settle(&self, id: SessionId, loaded: Loaded) -> Result<(), SessionId> {
        let watchers = &self.inner.watchers;
        match loaded {
            Ok(Some(record)) => {
                let base = Base::of(record, self.rules());
                let end = self.policy().end(&base.record, &Meta::of(&base.data));
                match self.now() < end {
                    true => watchers.lives(id, end),
                    false => watchers.end(id, Ended::Expired),
                }
            }
            Ok(None) if watchers.is_over(id, self.now()) => watchers.end(id, Ended::Expired),
            // A row that cannot be read is no session.
            Ok(None) | Err(StoreError::Malformed(_)) => watchers.end(id, Ended::Gone),
            Err(_) => return Err(id),
        }
        Ok(())
    }

    /// What this process knows of ends.
    pub(super) fn tell_watchers(&self, event: &Event) {
        let watchers = &self.inner.watchers;
        match event {
            Event::Rotated { from, to } => watchers.end(*from, Ended::Rotated { to: *to }),
            Event::LoggedOut { id } | Event::Revoked { id } => watchers.end(*id, Ended::Gone),
            _ => {}
        }
    }
}

/// Settles doubts for as long as anybody watches, and listens to this store's feed.
async fn run(watchers: Arc<Watchers>, service: Weak<Inner>, store: Option<Arc<dyn SessionStore>>) {
    let interval = watchers.interval();
    let mut subscribing = std::pin::pin!(subscribe(Arc::clone(&watchers), service.clone(), store));
    let mut feed: Option<Option<Feed>> = None;
    let mut next_look = Instant::now();
    loop {
        let Some(inner) = service.upgrade() else { return };
        let sessions = Sessions { inner, realm: None };
        if !watchers.is_up() && next_look <= Instant::now() {
            watchers.doubt_all();
            next_look = Instant::now() + interval;
        }
        let answered = sessions.settle_doubts().await;
        let pause = match (answered, watchers.first_end()) {
            _ if watchers.nobody() => LINGER,
            (false, _) => TICK.min(interval),
            (true, end) => {
                let until = end.map_or(TICK, |end| end.saturating_since(sessions.now()));
                until.clamp(Duration::from_millis(1), TICK)
            }
        };
        drop(sessions);
        let mut wake = Instant::now() + pause;
        if !watchers.is_up() && !watchers.nobody() {
            wake = wake.min(next_look);
        }
        tokio::select! {
            subscribed = &mut subscribing, if feed.is_none() => feed = Some(subscribed),
            () = watchers.bell.notified() => {}
            () = tokio::time::sleep_until(wake) => {
                if watchers.rest() {
                    return;
                }
            }
        }
    }
}

/// The feed of a store that has one, as soon as it can be had.
async fn subscribe(
    watchers: Arc<Watchers>,
    service: Weak<Inner>,
    store: Option<Arc<dyn SessionStore>>,
) -> Option<Feed> {
    let store = store?;
    loop {
        match store.feed(Arc::clone(&watchers) as _, BOUND).await {
            Ok(feed) => return feed,
            Err(error) if error.is_transient() => {}
            Err(error) => {
                tracing::info!(%error, "watched sessions are looked at regularly, for the store does not tell");
                return None;
            }
        }
        tokio::time::sleep(watchers.interval()).await;
        service.upgrade()?;
    }
}
