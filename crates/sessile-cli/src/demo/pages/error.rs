//! When something went wrong: what happened, what did not happen, and what to do next, in plain words.

use axum::http::StatusCode;
use maud::{Markup, html};

use super::layout;

struct Words {
    title: &'static str,
    what: &'static str,
    next: &'static str,
}

/// The page for that status. It says nothing about who is signed in: a store that does not answer has signed nobody
/// out.
pub(crate) fn page(status: StatusCode) -> Markup {
    let words = words(status);
    let content = html! {
        div.notice {
            img src="/pictures/empty-shell.svg" alt="" width="220" height="160";
            p.status { (status.as_u16()) }
            h1 { (words.title) }
            p { (words.what) }
            p { (words.next) }
            p { a.button href="/" { "To the shelf" } }
        }
    };
    layout::whole_without_session(words.title, content)
}

fn words(status: StatusCode) -> Words {
    let (title, what, next) = match status {
        StatusCode::FORBIDDEN => (
            "That form was not ours.",
            "The form came from another site, so nothing was changed.",
            "If it was you who wanted this, do it from the pages of this shop.",
        ),
        StatusCode::NOT_FOUND => (
            "Nothing is attached here.",
            "There is no page at this address, or what was here has ended.",
            "Check the address, or start from the shelf.",
        ),
        StatusCode::CONFLICT => (
            "Two changes met.",
            "Something else changed your session again and again while this request tried to. This change was not made.",
            "Go back and do it once more.",
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "The tide is out.",
            "The shop cannot reach the place where it keeps sessions. You have not been signed out, and your cart is not lost.",
            "Wait a moment, then load this page again.",
        ),
        status if status.is_client_error() => (
            "That made no sense to us.",
            "The shop could not read this request. Nothing was changed.",
            "Go back, load the page again, and repeat what you did.",
        ),
        _ => (
            "Something broke on our side.",
            "The shop failed to do this, and kept nothing of it. You did nothing wrong.",
            "Try again; if it happens again, the server's log says why.",
        ),
    };
    Words { title, what, next }
}
