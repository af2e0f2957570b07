//! The shelf.

use axum::response::Response;
use sessile::Session;

use super::visit::Visit;
use crate::demo::error::ShopError;
use crate::demo::pages;

/// `GET /`
pub(crate) async fn show(session: Session) -> Result<Response, ShopError> {
    let visit = Visit::of(&session)?;
    Ok(visit.answer(pages::catalogue::page(&visit.page(), &visit.cart)))
}
