//! The frame of every page: head, header with the navigation, messages, footer.

use maud::{DOCTYPE, Markup, html};

use super::{Flash, Page, Section, counted};
use crate::demo::assets::STYLE_PATH;

/// A whole page, for a visitor of whom we know whether they are signed in.
pub(super) fn whole(page: &Page<'_>, section: Section, title: &str, content: Markup) -> Markup {
    frame(
        title,
        header(Some((page, section))),
        html! {
            @if !page.flashes.is_empty() { div.flashes role="status" { @for flash in &page.flashes { (message(flash)) } } }
            (content)
        },
    )
}

/// A whole page when the visitor's session could not be read: says neither that they are signed in nor
/// that they are not.
pub(super) fn whole_without_session(title: &str, content: Markup) -> Markup {
    frame(title, header(None), content)
}

fn frame(title: &str, header: Markup, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="theme-color" content="#f4f6f1" media="(prefers-color-scheme: light)";
                meta name="theme-color" content="#0f2228" media="(prefers-color-scheme: dark)";
                title { (title) " · Holdfast" }
                link rel="icon" type="image/svg+xml" href="/pictures/mark.svg";
                link rel="stylesheet" href=(*STYLE_PATH);
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (header)
                main #content tabindex="-1" { (content) }
                (footer())
            }
        }
    }
}

/// Without a page, only what is right for everybody.
fn header(page: Option<(&Page<'_>, Section)>) -> Markup {
    html! {
        header.top {
            div.top-row {
                a.brand href="/" {
                    img src="/pictures/mark.svg" alt="" width="40" height="40";
                    span { "Holdfast" }
                }
                @if let Some((page, section)) = page { (navigation(page, section)) }
            }
        }
    }
}

fn navigation(page: &Page<'_>, section: Section) -> Markup {
    html! {
        nav.links aria-label="Shop" {
            a href="/" aria-current=[current(section, Section::Shop)] { "Shop" }
            @if page.signed_in_as.is_some() {
                a href="/sessions" aria-current=[current(section, Section::Sessions)] { "Your sessions" }
            }
        }
        div.account {
            @if let Some(name) = page.signed_in_as {
                p.who { span.quiet { "Signed in as " } strong data-test="signed-in-as" { (name) } }
                form method="post" action="/sign-out" {
                    button.plain type="submit" data-test="sign-out" { "Sign out" }
                }
            } @else {
                a href="/sign-in" data-test="sign-in-link" aria-current=[current(section, Section::SignIn)] { "Sign in" }
            }
        }
        a.cart-link href="/cart" aria-current=[current(section, Section::Cart)] {
            span.cart-word { "Cart" } " "
            span.badge.badge-empty[page.cart_count == 0] aria-hidden="true" data-test="cart-count" { (page.cart_count) }
            span.unseen { (counted(page.cart_count, "piece", "pieces")) }
        }
    }
}

fn current(shown: Section, link: Section) -> Option<&'static str> {
    (shown == link).then_some("page")
}

fn message(flash: &Flash) -> Markup {
    let look = match flash.category.as_str() {
        "success" => "success",
        "warning" => "warning",
        "danger" | "error" => "danger",
        _ => "info",
    };
    html! { p.flash.(look) data-test="flash" { (flash.message) } }
}

fn footer() -> Markup {
    html! {
        footer.bottom {
            p { "Holdfast is the demo shop of " strong { "sessile" } ". Nothing is sold here and nothing is sent to you." }
            p.quiet { "The one cookie it sets names your session; what is in your cart stays on the server." }
        }
    }
}
