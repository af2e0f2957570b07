//! The extractor for handlers that need somebody to be signed in.

use axum::RequestPartsExt as _;
use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use sessile::{Session, UserId};

use super::RETURN_TO;
use crate::demo::error::ShopError;

/// Extracts a signed-in user. Other requests are redirected to the sign-in page, and from there back.
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) user: UserId,
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = ShopError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ShopError> {
        let session: Session = parts.extract().await?;
        if let Some(user) = session.user_id() {
            return Ok(Self { session, user });
        }
        session.flash("info", "Please sign in first.")?;
        // A form cannot be sent again by a redirect, so only pages are returned to.
        if parts.method == Method::GET {
            session.insert(RETURN_TO, &parts.uri.path().to_owned())?;
        }
        Err(ShopError::NotSignedIn)
    }
}
