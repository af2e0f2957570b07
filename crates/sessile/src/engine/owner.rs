//! Whose a session is under lback's policy: the data says so, and the column follows.
//!
//! lback notes a sign-in in the data alone; the column is written when a row is made, and never again. Lists and
//! revocations go by the column, for that is what has an index. So before one user's sessions are looked for, the
//! column is brought in line wherever it or the data names that user. A request to sessile does the same for its own
//! session in passing. Python leaves the column alone, so this stays done until somebody signs in or out there.

use super::admin::PAGE;
use super::plan::{self, Base};
use super::{EngineError, Selection, Sessions};
use crate::record::{SessionRecord, UserId};
use crate::store::Outcome;

impl Sessions {
    /// Brings the column in line with the data for every live session that one of them calls this user's. Nothing
    /// to do but under lback's policy. Cost: 1 statement for every 500 live sessions, and 1 for each one that is
    /// brought in line.
    ///
    /// Sessions that are renamed meanwhile are not missed, though they may move past the reader: only sessile
    /// renames, and it writes the column then. Who signs in meanwhile may be missed, as ever.
    pub(super) async fn settle_owners(&self, user: &UserId) -> Result<(), EngineError> {
        if !self.policy().user_in_data {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.page(&Selection::default(), after, PAGE).await?;
            for record in page.records {
                self.settle_owner(record, user).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn settle_owner(&self, record: SessionRecord, user: &UserId) -> Result<(), EngineError> {
        let attempts = self.policy().max_attempts;
        let mut base = Base::of(record, self.rules());
        for _ in 0..attempts {
            let Some(write) = plan::owner(&base, user, self.now()) else { return Ok(()) };
            if self.apply(write).await? == Outcome::Applied {
                return Ok(());
            }
            // Changed meanwhile, or ended.
            match self.load(base.record.id()).await? {
                Some(newest) => base = newest,
                None => return Ok(()),
            }
        }
        Err(EngineError::Contended { attempts })
    }
}
