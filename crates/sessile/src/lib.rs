//! Server-side sessions in the database you already run.
//!
//! A session is one row of one `sessions` table; a secret in a cookie names it.
#![forbid(unsafe_code)]

pub mod engine;
pub mod http;
pub mod record;
pub mod session;
pub mod store;

pub use engine::{Policy, Sessions};
pub use http::{CookieConfig, SessionLayer};
pub use record::{SessionData, SessionId, SessionRecord, SessionToken, UserId};
pub use session::{Key, LazySession, Session, SessionError};
