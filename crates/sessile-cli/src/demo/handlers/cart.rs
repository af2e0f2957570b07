//! The cart. Changed with [`Session::update`], so that of two clicks at the same time both count.

use axum::Form;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use sessile::Session;

use super::CART;
use super::visit::Visit;
use crate::demo::cart::{Cart, MOST_OF_ONE};
use crate::demo::catalogue::{self, Good};
use crate::demo::error::ShopError;
use crate::demo::pages;

/// `GET /cart`
pub(crate) async fn show(session: Session) -> Result<Response, ShopError> {
    let visit = Visit::of(&session)?;
    Ok(visit.answer(pages::cart::page(&visit.page(), &visit.cart)))
}

/// One more of a good, or less of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    item: String,
    /// How many pieces less; without it, all of them.
    count: Option<u32>,
    /// `cart` for the buttons in the cart itself.
    from: Option<String>,
}

impl Change {
    fn good(&self) -> Result<&'static Good, ShopError> {
        catalogue::find(&self.item).ok_or(ShopError::NoSuchGood)
    }

    fn is_from_cart(&self) -> bool {
        self.from.as_deref() == Some("cart")
    }

    /// Back to where the button was.
    fn redirect(&self, good: &Good) -> Redirect {
        if self.is_from_cart() { Redirect::to("/cart") } else { Redirect::to(&format!("/#{}", good.slug)) }
    }
}

/// `POST /cart/add`
pub(crate) async fn add(session: Session, Form(change): Form<Change>) -> Result<Redirect, ShopError> {
    let good = change.good()?;
    let cart = session.update(CART, |cart: &mut Cart| cart.add(good))?;
    // In the cart the new number says it all.
    if !change.is_from_cart() {
        let message = match cart.count_of(good) {
            MOST_OF_ONE => format!("{}: you have all {MOST_OF_ONE} that one person may have.", good.name),
            1 => format!("{} is in your cart.", good.name),
            count => format!("{} is in your cart, {count} times.", good.name),
        };
        session.flash("success", message)?;
    }
    Ok(change.redirect(good))
}

/// `POST /cart/remove`
pub(crate) async fn remove(session: Session, Form(change): Form<Change>) -> Result<Redirect, ShopError> {
    let good = change.good()?;
    let pieces = change.count;
    let cart = session.update(CART, move |cart: &mut Cart| match pieces {
        Some(pieces) => (0..pieces.min(MOST_OF_ONE)).for_each(|_| cart.take_one(good)),
        None => cart.remove(good),
    })?;
    if cart.count_of(good) == 0 {
        session.flash("info", format!("{} is no longer in your cart.", good.name))?;
    }
    Ok(change.redirect(good))
}
