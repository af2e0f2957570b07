//! The copy itself: a page is judged, written and read back while the next one is read.

use std::sync::Arc;

use indicatif::ProgressBar;
use sessile::SessionId;
use sessile::record::{InvalidUserId, SessionRecord, Timestamp};
use sessile::store::{Loaded, Outcome, SessionStore, StoreError, Write};

use super::Prefer;
use super::journal::Journal;
use super::judge::{Verdict, dated, is_as_good, is_copy, is_newer, judge, storable};
use super::source::{PAGE, Page, Source, Unreadable};
use super::summary::Summary;
use crate::commands::in_time;
use crate::error::{Error, chain};
use crate::output::remark;

/// Sessions that are reported one by one; the others are counted.
const REPORTED: u64 = 100;

/// A copy at work.
pub(super) struct Transfer {
    /// `None`: nothing is there, and nothing is to be made.
    target: Option<Arc<dyn SessionStore>>,
    dry_run: bool,
    journal: Journal,
    /// Whether there was nothing in the journal at the beginning.
    is_first: bool,
    prefer: Prefer,
    /// Whether the source says itself when its rows were changed.
    is_dated: bool,
    now: Timestamp,
    summary: Summary,
    bar: ProgressBar,
}

/// A session that is to be written.
struct Planned {
    record: SessionRecord,
    writes: Vec<Write>,
    /// Whether there was no row with its id.
    is_new: bool,
}

impl Transfer {
    pub(super) fn new(
        target: Option<Arc<dyn SessionStore>>,
        journal: Journal,
        prefer: Prefer,
        dry_run: bool,
        now: Timestamp,
        bar: ProgressBar,
    ) -> Transfer {
        let is_first = journal.is_empty();
        Transfer {
            target,
            dry_run,
            journal,
            is_first,
            prefer,
            is_dated: true,
            now,
            summary: Summary::default(),
            bar,
        }
    }

    /// Copies everything.
    pub(super) async fn run(mut self, mut source: Source) -> Result<Summary, Error> {
        self.is_dated = source.is_dated();
        let mut next = source.page().await?;
        while let Some(page) = next {
            let (taken, read) = tokio::join!(self.take(page), source.page());
            // What was written is noted, whatever comes then.
            self.journal.write()?;
            taken?;
            next = read?;
        }
        self.end_what_ended(&source).await?;
        self.journal.finish()?;
        self.bar.finish_and_clear();
        self.remark_on_the_journal();
        Ok(self.summary)
    }

    async fn take(&mut self, page: Page) -> Result<(), Error> {
        for row in page.unreadable {
            self.pass_by(&row);
        }
        let mut records = Vec::with_capacity(page.records.len());
        for record in page.records {
            let id = record.id();
            match storable(record) {
                Ok(record) => records.push(record),
                Err(problem) => {
                    self.summary.malformed += 1;
                    self.report(self.summary.malformed, &format!("session {id} cannot be read: {problem}"));
                }
            }
        }
        self.summary.read += records.len() as u64;
        self.bar.inc(records.len() as u64);
        let planned = self.plan(records).await?;
        if self.dry_run {
            self.summary.copied += planned.len() as u64;
            return Ok(());
        }
        self.make(planned).await
    }

    /// A row that becomes no session here.
    fn pass_by(&mut self, row: &Unreadable) {
        if let Ok(id) = row.id.parse() {
            // Whatever it is, it has not gone.
            self.journal.see(id);
        }
        if row.is_live {
            self.summary.failed += 1;
            self.report(self.summary.failed, &format!("session {} was not copied: {}", row.id, row.problem));
        } else {
            self.summary.malformed += 1;
            self.report(
                self.summary.malformed,
                &format!("the row {:?} cannot be read: {}", row.id, row.problem),
            );
        }
    }

    /// Looks up what the target has, and decides.
    async fn plan(&mut self, records: Vec<SessionRecord>) -> Result<Vec<Planned>, Error> {
        let there = self.load(&records).await?;
        let mut planned = Vec::new();
        for (record, there) in records.into_iter().zip(there) {
            let id = record.id();
            let known = self.journal.see(id);
            let there = match there {
                Ok(there) => there,
                Err(StoreError::Malformed(row)) => {
                    self.fail(id, &format!("the row there cannot be read: {}", row.problem));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let record = if self.is_dated { record } else { dated(&record, there.as_ref(), self.now) };
            let verdict = judge(&record, there.as_ref(), known, self.is_dated, self.prefer, self.now);
            if matches!(verdict, Verdict::Insert | Verdict::Replace(_))
                && let Err(error) = self.check_user(&record)
            {
                self.fail(id, &error.to_string());
                continue;
            }
            match verdict {
                Verdict::Insert => {
                    let writes = vec![Write::Insert(record.clone())];
                    planned.push(Planned { record, writes, is_new: true });
                }
                Verdict::Replace(writes) => planned.push(Planned { record, writes, is_new: false }),
                Verdict::Present => {
                    self.summary.present += 1;
                    self.journal.note(id, record.expires_at());
                }
                Verdict::Stays => {
                    self.summary.newer_there += 1;
                    self.journal.note(id, record.expires_at());
                }
                Verdict::Ended => self.summary.ended_there += 1,
                Verdict::Impossible(problem) => self.fail(id, problem),
            }
        }
        Ok(planned)
    }

    /// Whether the target's column holds the user id: a dry run tells it too.
    fn check_user(&self, record: &SessionRecord) -> Result<(), InvalidUserId> {
        match (&self.target, record.user_id()) {
            (Some(target), Some(user)) => user.check_fits(target.user_id_limit()),
            _ => Ok(()),
        }
    }

    /// What the target has under these ids.
    async fn load(&self, records: &[SessionRecord]) -> Result<Vec<Loaded>, Error> {
        let ids: Vec<SessionId> = records.iter().map(SessionRecord::id).collect();
        Ok(match &self.target {
            Some(_) if ids.is_empty() => Vec::new(),
            Some(target) => in_time(&**target, target.load_many(&ids)).await?,
            None => ids.iter().map(|_| Ok(None)).collect(),
        })
    }

    /// Writes, and reads back.
    async fn make(&mut self, mut planned: Vec<Planned>) -> Result<(), Error> {
        let Some(target) = self.target.clone().filter(|_| !planned.is_empty()) else { return Ok(()) };
        let last: Vec<usize> = planned
            .iter()
            .scan(0, |end, planned| {
                *end += planned.writes.len();
                Some(*end - 1)
            })
            .collect();
        let writes = planned.iter_mut().flat_map(|planned| std::mem::take(&mut planned.writes)).collect();
        let mut outcomes = in_time(&*target, target.apply_many(writes)).await?;
        let records: Vec<SessionRecord> = planned.iter().map(|planned| planned.record.clone()).collect();
        let there = self.load(&records).await?;
        let mut fatal = None;
        for ((planned, last), there) in planned.into_iter().zip(last).zip(there) {
            // Each is taken once; what is left in its place is never looked at.
            let outcome = std::mem::replace(&mut outcomes[last], Ok(Outcome::Unmatched));
            if let Err(error) = self.settle(&planned, outcome, there) {
                fatal.get_or_insert(error);
            }
        }
        fatal.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Notes what became of one session. An error is one of the store, not of this session.
    fn settle(
        &mut self,
        planned: &Planned,
        outcome: Result<Outcome, StoreError>,
        there: Loaded,
    ) -> Result<(), StoreError> {
        let Planned { record, is_new, .. } = planned;
        let id = record.id();
        let applied = match outcome {
            Ok(outcome) => outcome == Outcome::Applied,
            Err(error) if error.is_transient() || matches!(error, StoreError::Full { .. }) => {
                self.summary.failed += 1;
                return Err(error);
            }
            Err(error) => {
                self.fail(id, &chain(&error));
                return Ok(());
            }
        };
        match there? {
            Some(there) if is_copy(record, &there) || (!is_new && is_as_good(record, &there)) => {
                if applied {
                    self.summary.copied += 1;
                } else {
                    self.summary.present += 1;
                }
                self.journal.note(id, record.expires_at());
            }
            // Somebody uses it there already.
            Some(there) if is_newer(&there, record) => {
                self.summary.newer_there += 1;
                self.journal.note(id, record.expires_at());
            }
            Some(_) => self.fail(id, "what was read back is not what was written"),
            None if applied => self.fail(id, "it was written and is not there"),
            None => self.fail(id, "it was not written"),
        }
        Ok(())
    }

    /// Ends at the target what has ended at the source since an earlier run: a sign-out must not be undone by
    /// a copy that was made before it.
    async fn end_what_ended(&mut self, source: &Source) -> Result<(), Error> {
        let missing = self.journal.missing(self.now);
        if missing.is_empty() {
            return Ok(());
        }
        if self.summary.read == 0 {
            // The table was emptied after the switch, which is no request to end all sessions.
            let count = missing.len();
            remark(&format!(
                "note: the source has no live session any more; {count} that it had are left as they are"
            ));
            return Ok(());
        }
        let Some(target) = self.target.clone() else { return Ok(()) };
        for ids in missing.chunks(PAGE) {
            let ended = source.ended(ids).await?;
            let ended = if self.dry_run {
                let there = in_time(&*target, target.load_many(&ended)).await?;
                there.iter().filter(|loaded| matches!(loaded, Ok(Some(_)))).count()
            } else {
                let writes = ended.into_iter().map(Write::Delete).collect();
                let mut count = 0;
                for outcome in in_time(&*target, target.apply_many(writes)).await? {
                    count += usize::from(outcome? == Outcome::Applied);
                }
                count
            };
            self.summary.ended_here += ended as u64;
        }
        Ok(())
    }

    fn fail(&mut self, id: SessionId, problem: &str) {
        self.summary.failed += 1;
        self.report(self.summary.failed, &format!("session {id} was not copied: {problem}"));
    }

    /// Says it, unless much of the kind was said.
    fn report(&self, count: u64, text: &str) {
        if count <= REPORTED {
            self.bar.suspend(|| remark(text));
        } else if count == REPORTED + 1 {
            self.bar.suspend(|| remark("and more of the kind, which are only counted"));
        }
    }

    fn remark_on_the_journal(&self) {
        if self.is_first && self.summary.present + self.summary.newer_there > 0 {
            remark(
                "note: sessions were there before this run, and no journal of an earlier one was found: what had \
                 ended there since then is back",
            );
        }
    }
}
