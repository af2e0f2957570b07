//! The handlers: each reads its session, does one thing, and answers with a page or with a redirect to one.
//!
//! None of them sets a cookie or saves a session: the layer does both when the answer leaves.

pub(super) mod cart;
pub(super) mod catalogue;
pub(super) mod files;
pub(super) mod sessions;
pub(super) mod sign_in;
mod signed_in;
mod visit;

use sessile::Key;

use super::cart::Cart;

/// What the visitor means to buy.
const CART: Key<Cart> = Key::new("cart");
/// The page that somebody wanted before they had to sign in.
const RETURN_TO: Key<String> = Key::new("return_to");
