//! The part that all pages share: who is signed in, what is in the cart, what has just happened.

use axum::http::header::CACHE_CONTROL;
use axum::response::{AppendHeaders, IntoResponse, Response};
use maud::Markup;
use sessile::{Session, SessionError, UserId};

use super::CART;
use crate::demo::cart::Cart;
use crate::demo::pages::{Flash, Page};

/// One visitor, looking at one page.
pub(super) struct Visit {
    pub(super) cart: Cart,
    user: Option<UserId>,
    flashes: Vec<Flash>,
    /// Whether there is a session: pages made from one must not be kept by any cache.
    personal: bool,
}

impl Visit {
    /// Takes the messages out of the session, so that they are shown once. Changes nothing if there are none.
    pub(super) fn of(session: &Session) -> Result<Self, SessionError> {
        let flashes = session.flashes()?.into_iter();
        Ok(Self {
            // A cart that another program spoilt is no reason to show no page at all.
            cart: session.get_or(CART, Cart::default()),
            user: session.user_id(),
            flashes: flashes
                .map(|flash| Flash { category: flash.category, message: flash.message })
                .collect(),
            personal: session.id().is_some(),
        })
    }

    /// What stands round every page.
    pub(super) fn page(&self) -> Page<'_> {
        Page {
            signed_in_as: self.user.as_ref().map(UserId::as_str),
            cart_count: self.cart.count(),
            flashes: self.flashes.clone(),
        }
    }

    /// The page as a response.
    pub(super) fn answer(&self, page: Markup) -> Response {
        let no_store = self.personal.then_some((CACHE_CONTROL, "no-store"));
        (AppendHeaders(no_store), page).into_response()
    }
}
