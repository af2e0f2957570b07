//! Pure values: the row, its names, its data, time. No I/O, no async.

mod data;
mod error;
mod fingerprint;
mod id;
pub mod json;
mod model;
mod random;
mod realm;
mod stored;
mod time;
mod token;
mod user;
mod value;
mod visible;

pub use data::SessionData;
pub(crate) use data::{Ordered, Outline, ReadKey, RemovedKey};
pub use error::{DataError, RESERVED_KEY};
pub use fingerprint::Fingerprint;
pub use id::{IdText, InvalidSessionId, SessionId};
pub use model::{Columns, SessionRecord};
pub use random::{Random, RandomError, SystemRandom};
pub use realm::{InvalidRealm, Realm};
pub use stored::{MAX_STORED_BYTES, StoredData};
pub use time::{Clock, ManualClock, Now, SqlText, SystemClock, Timestamp};
pub use token::{InvalidSessionToken, SessionToken};
pub use user::{InvalidUserId, MAX_USER_ID_CHARS, UserId};
pub(crate) use value::{ListItem, ValueText};
pub use visible::Visible;
