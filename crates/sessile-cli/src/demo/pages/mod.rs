//! What the shop's pages look like: plain values in, markup out.
//!
//! Nothing in here may load, change or know a session, read a clock or fail. Elements that a test or a script wants
//! to find carry `data-test`; classes belong to the style sheet alone.

pub(crate) mod cart;
pub(crate) mod catalogue;
pub(crate) mod error;
mod layout;
pub(crate) mod sessions;
pub(crate) mod sign_in;

/// What every page shows round its own content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page<'a> {
    /// The name of the signed-in user.
    pub(crate) signed_in_as: Option<&'a str>,
    /// How many pieces are in the cart.
    pub(crate) cart_count: u32,
    /// What has just happened, oldest first.
    pub(crate) flashes: Vec<Flash>,
}

/// One message about what has just happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flash {
    /// `success`, `warning` and `danger` have a look of their own; all others look like `info`.
    pub(crate) category: String,
    pub(crate) message: String,
}

/// The pages that the navigation leads to, so that it can mark the one that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Shop,
    Cart,
    Sessions,
    SignIn,
}

/// `1 thing`, `2 things`.
fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
