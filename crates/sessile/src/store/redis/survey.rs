//! What reads many rows: in bounded steps, over a connection that no request uses.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redis::{Cmd, Value};

use super::Inner;
use super::call::{self, Request, made};
use super::fault::{Fault, strange};
use super::keys::{BUCKETS, bucket_of};
use super::link::Link;
use super::row::{self, Found, bytes};
use crate::record::{SessionId, SessionRecord, Timestamp, UserId};
use crate::store::{Cursor, ListPage, ListQuery, MalformedRow, StoreStats};

/// Ids asked of one bucket at once, at most.
const STEP: usize = 256;
/// Looks at a user's index for one page, at most, while sessions are rotated under the reader.
const LOOKS: usize = 16;
/// Buckets asked at once where there may be little in each.
const WIDTH: usize = 32;

/// All ids in their order, in bounded steps.
struct Walk {
    bucket: usize,
    /// Within the bucket, after this member.
    after: Option<Vec<u8>>,
}

impl Walk {
    fn new(after: Option<SessionId>) -> Walk {
        Walk {
            bucket: after.map_or(0, bucket_of),
            after: after.map(|id| id.to_text().as_str().as_bytes().to_vec()),
        }
    }

    /// The next ids, about so many; `None` at the end.
    async fn next(
        &mut self,
        inner: &Inner,
        link: &Link,
        wanted: usize,
    ) -> Result<Option<Vec<SessionId>>, Fault> {
        let step = wanted.clamp(1, STEP);
        while self.bucket < BUCKETS {
            // Where a bucket was full, so will be the next ones.
            let width = if self.after.is_some() { 1 } else { WIDTH };
            let buckets = self.bucket..(self.bucket + width).min(BUCKETS);
            let requests: Vec<_> = buckets.map(|bucket| self.page(inner, bucket, step)).collect();
            let ids = self.take(link.read(&requests).await, step)?;
            if !ids.is_empty() {
                return Ok(Some(ids));
            }
        }
        Ok(None)
    }

    fn page(&self, inner: &Inner, bucket: usize, step: usize) -> Request<'static> {
        let mut from = vec![b'-'];
        if let Some(after) = self.after.as_ref().filter(|_| bucket == self.bucket) {
            from = [b"(", &after[..]].concat();
        }
        let mut command = Cmd::new();
        command.arg("ZRANGEBYLEX").arg(inner.keys.ids(bucket)).arg(from).arg("+");
        command.arg("LIMIT").arg(0).arg(step);
        Request::Plain(command)
    }

    /// Up to the first bucket that may hold more; what was read beyond it is read again.
    fn take(&mut self, answers: Vec<Result<Value, Fault>>, step: usize) -> Result<Vec<SessionId>, Fault> {
        let mut ids = Vec::new();
        for answer in answers {
            let Value::Array(members) = answer? else { return Err(strange()) };
            let full = members.len() == step;
            let members: Vec<Vec<u8>> = members.into_iter().filter_map(bytes).collect();
            ids.extend(members.iter().filter_map(|member| SessionId::parse_bytes(member).ok()));
            if full {
                self.after = members.into_iter().next_back();
                return Ok(ids);
            }
            self.after = None;
            self.bucket += 1;
        }
        Ok(ids)
    }
}

/// A page that grows until it is full.
struct Page<'a> {
    query: &'a ListQuery,
    limit: usize,
    page: ListPage,
    last: Option<SessionId>,
}

impl<'a> Page<'a> {
    fn new(query: &'a ListQuery) -> Page<'a> {
        Page { query, limit: query.limit.max(1), page: ListPage::default(), last: None }
    }

    fn room(&self) -> usize {
        self.limit - self.page.records.len() - self.page.malformed.len()
    }

    /// Takes the row if it belongs here; whether there is no room for it.
    fn is_full_for(&mut self, id: SessionId, row: Result<SessionRecord, MalformedRow>) -> bool {
        let belongs = match &row {
            Ok(record) => {
                self.query.liveness.includes(record.expires_at(), self.query.now)
                    && self.query.user.as_ref().is_none_or(|user| record.user_id() == Some(user))
            }
            // Whose it is, nobody knows.
            Err(_) => self.query.user.is_none(),
        };
        if !belongs {
            return false;
        }
        if self.room() == 0 {
            self.page.next = self.last.map(|last| Cursor::new(last.to_string()));
            return true;
        }
        self.last = Some(id);
        match row {
            Ok(record) => self.page.records.push(record),
            Err(malformed) => self.page.malformed.push(malformed),
        }
        false
    }
}

impl Inner {
    /// These rows, over this connection; what is prepared is resolved.
    pub(super) async fn rows(&self, link: &Link, ids: &[SessionId]) -> Vec<Result<Found, Fault>> {
        let requests: Vec<_> = ids.iter().map(|&id| self.scribe("").read(id)).collect();
        let mut rows = Vec::with_capacity(ids.len());
        for (&id, answer) in ids.iter().zip(link.read(&requests).await) {
            rows.push(match row::found(id, answer) {
                Ok(Found::Moving(from)) => self.resolve(id, &from).await,
                found => found,
            });
        }
        rows
    }

    pub(super) async fn list(&self, query: &ListQuery) -> Result<ListPage, Fault> {
        let after = query.after.as_ref().and_then(|cursor| cursor.as_str().parse::<SessionId>().ok());
        match &query.user {
            Some(user) => self.list_user(query, user, after).await,
            None => self.list_all(query, after).await,
        }
    }

    async fn list_all(&self, query: &ListQuery, after: Option<SessionId>) -> Result<ListPage, Fault> {
        let (mut page, mut walk, link) = (Page::new(query), Walk::new(after), self.walks().await?);
        while let Some(ids) = walk.next(self, link, page.room() + 1).await? {
            let (full, gone) = self.fill(&mut page, &ids).await?;
            self.prune(&gone).await;
            if full {
                break;
            }
        }
        Ok(page.page)
    }

    /// All of the user's ids are read for every page; once more when a row is gone.
    ///
    /// It may have been rotated since the index was read, and must not be missed under both names: the new one
    /// stands in the index before the old one dies.
    async fn list_user(
        &self,
        query: &ListQuery,
        user: &UserId,
        after: Option<SessionId>,
    ) -> Result<ListPage, Fault> {
        let link = self.walks().await?;
        let mut ids = self.ids_of(link, user).await?;
        for _ in 1..LOOKS {
            let (page, any_gone) = self.page_of(query, user, &ids, after).await?;
            if !any_gone {
                return Ok(page);
            }
            let before: HashSet<SessionId> = ids.into_iter().collect();
            ids = self.ids_of(link, user).await?;
            if ids.iter().all(|id| before.contains(id)) {
                return Ok(page);
            }
        }
        Ok(self.page_of(query, user, &ids, after).await?.0)
    }

    /// The page, and whether one of the ids has no row.
    async fn page_of(
        &self,
        query: &ListQuery,
        user: &UserId,
        ids: &[SessionId],
        after: Option<SessionId>,
    ) -> Result<(ListPage, bool), Fault> {
        let first = after.map_or(0, |after| ids.partition_point(|&id| id <= after));
        let (mut page, mut any_gone) = (Page::new(query), false);
        for ids in ids[first..].chunks((page.room() + 1).min(STEP)) {
            let (full, gone) = self.fill(&mut page, ids).await?;
            any_gone |= !gone.is_empty();
            self.prune_user(user, &gone).await;
            if full {
                break;
            }
        }
        Ok((page.page, any_gone))
    }

    /// Whether the page is full, and which ids have no row.
    async fn fill(&self, page: &mut Page<'_>, ids: &[SessionId]) -> Result<(bool, Vec<SessionId>), Fault> {
        let (mut gone, link) = (Vec::new(), self.walks().await?);
        for (&id, found) in ids.iter().zip(self.rows(link, ids).await) {
            match found? {
                Found::Row(row) => {
                    if page.is_full_for(id, row) {
                        return Ok((true, gone));
                    }
                }
                Found::Nothing | Found::Moving(_) => gone.push(id),
            }
        }
        Ok((false, gone))
    }

    /// Takes ids out of their buckets' indexes whose rows Redis has removed.
    async fn prune(&self, gone: &[SessionId]) {
        let requests: Vec<Request<'_>> = gone
            .iter()
            .map(|&id| {
                let bucket = bucket_of(id);
                Request::Script {
                    script: &call::PRUNE,
                    keys: vec![self.keys.ids(bucket), self.keys.expiries(bucket)],
                    arguments: vec![made(self.keys.bucket(bucket)), made(id)],
                }
            })
            .collect();
        if !requests.is_empty() {
            // Whoever comes next meets them again.
            let _ = self.link.send(&requests).await;
        }
    }

    pub(super) async fn stats(&self, now: Timestamp) -> Result<StoreStats, Fault> {
        let mut stats = StoreStats::default();
        // Their names would fill the memory: two of them share 64 bits once in a million tables.
        let (mut users, hasher) = (HashSet::new(), RandomState::new());
        let (mut walk, link) = (Walk::new(None), self.walks().await?);
        while let Some(ids) = walk.next(self, link, STEP).await? {
            let lengths: Vec<_> =
                ids.iter().map(|&id| call::plain(&["HSTRLEN", &self.keys.row(id), "data"])).collect();
            let heads: Vec<_> = ids.iter().map(|&id| self.head(id)).collect();
            let heads = link.read(&heads).await;
            for ((&id, head), length) in ids.iter().zip(heads).zip(link.read(&lengths).await) {
                let Some((expires_at, user)) = self.judge(id, head).await? else { continue };
                if expires_at <= now {
                    stats.expired += 1;
                    stats.oldest_expired = stats.oldest_expired.into_iter().chain([expires_at]).min();
                    continue;
                }
                stats.live += 1;
                if let Value::Int(length) = length? {
                    stats.data_bytes += length.unsigned_abs();
                }
                match user {
                    Some(user) => drop(users.insert(hasher.hash_one(user))),
                    None => stats.anonymous += 1,
                }
            }
        }
        stats.users = users.len() as u64;
        Ok(stats)
    }

    fn head(&self, id: SessionId) -> Request<'static> {
        call::plain(&["HMGET", &self.keys.row(id), "expires_at", "user_id", "rotated_from"])
    }

    /// The expiry and the user of a row that counts and can be read.
    async fn judge(
        &self,
        id: SessionId,
        head: Result<Value, Fault>,
    ) -> Result<Option<(Timestamp, Option<Vec<u8>>)>, Fault> {
        let fields = match head {
            Ok(Value::Array(fields)) => fields,
            Ok(_) => return Err(strange()),
            Err(fault) if fault.is_wrong_type() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut fields = fields.into_iter().map(bytes);
        let [expires_at, user, from] = std::array::from_fn(|_| fields.next().flatten());
        if from.is_some() && !matches!(self.load(id).await?, Found::Row(_)) {
            return Ok(None);
        }
        let expires_at = expires_at.and_then(|text| Timestamp::parse(str::from_utf8(&text).ok()?));
        Ok(expires_at.map(|expires_at| (expires_at, user)))
    }
}
