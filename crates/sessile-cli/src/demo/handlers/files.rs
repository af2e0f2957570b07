//! The shop's own files, the same for everybody.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

use crate::demo::assets::STYLE;
use crate::demo::pictures::picture;

/// `GET /style-<hash>.css`: whoever has it has it for good, because another style sheet has another address.
pub(crate) async fn style() -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, STYLE)
}

/// `GET /pictures/<name>.svg`: kept for a day, because the address stays when a picture changes.
pub(crate) async fn picture_of(Path(file): Path<String>) -> Result<impl IntoResponse, StatusCode> {
    let drawn = file.strip_suffix(".svg").and_then(picture).ok_or(StatusCode::NOT_FOUND)?;
    Ok(([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "public, max-age=86400")], drawn))
}
