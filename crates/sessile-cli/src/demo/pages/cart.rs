//! The cart: what is in it, what it costs, and how to have more or less of it.

use maud::{Markup, html};

use super::{Page, Section, counted, layout};
use crate::demo::cart::{Cart, Line, MOST_OF_ONE};

/// The cart. Its forms send `from=cart`, so that the visitor comes back here; the one that takes a single piece
/// out sends `count=1`, the one that takes out the whole line sends no count.
pub(crate) fn page(page: &Page<'_>, cart: &Cart) -> Markup {
    let content = if cart.count() == 0 { empty() } else { filled(page, cart) };
    layout::whole(page, Section::Cart, "Your cart", content)
}

fn empty() -> Markup {
    html! {
        div.notice {
            img src="/pictures/empty-shell.svg" alt="" width="220" height="160";
            h1 { "Nothing has settled here yet." }
            p { "Your cart is empty. What you put into it stays, whether you are signed in or not." }
            p { a.button href="/" { "Look at the shelf" } }
        }
    }
}

fn filled(page: &Page<'_>, cart: &Cart) -> Markup {
    html! {
        h1 { "Your cart" }
        div.cart {
            ul.lines role="list" { @for line in cart.lines() { li.cart-line data-test="cart-line" { (row(&line)) } } }
            section.sum aria-labelledby="sum" {
                h2 #sum { "Together" }
                dl {
                    div { dt { (counted(cart.count(), "piece", "pieces")) } dd { (cart.total()) } }
                    div { dt { "Delivery" } dd { "by the next tide" } }
                    div.total { dt { "Total" } dd { (cart.total()) } }
                }
                p.quiet {
                    "There is no till: this is a demo. "
                    @if page.signed_in_as.is_none() { "Sign in, and the cart comes with you." }
                    @else { "Sign out, and the cart goes with your session." }
                }
                p { a.button.full href="/" { "Keep looking" } }
            }
        }
    }
}

fn row(line: &Line) -> Markup {
    let good = line.good;
    html! {
        img src={ "/pictures/" (good.slug) ".svg" } alt="" width="96" height="96";
        div.cart-name {
            h2 { (good.name) }
            p.quiet { (good.price) " each" }
        }
        div.count {
            (step(line, "/cart/remove", Some("1"), html! { "−" span.unseen { "One " (good.name) " less" } }, false))
            span.count-number { span.unseen { "Pieces: " } (line.count) }
            (step(line, "/cart/add", None, html! { "+" span.unseen { "One " (good.name) " more" } }, line.count >= MOST_OF_ONE))
        }
        p.cart-price { (line.price()) }
        form.cart-remove method="post" action="/cart/remove" {
            (hidden(line))
            button.plain type="submit" { "Remove" span.unseen { " " (good.name) } }
        }
    }
}

fn step(line: &Line, action: &str, count: Option<&str>, label: Markup, disabled: bool) -> Markup {
    html! {
        form method="post" action=(action) {
            (hidden(line))
            @if let Some(count) = count { input type="hidden" name="count" value=(count); }
            button.step type="submit" disabled[disabled] { (label) }
        }
    }
}

fn hidden(line: &Line) -> Markup {
    html! {
        input type="hidden" name="item" value=(line.good.slug);
        input type="hidden" name="from" value="cart";
    }
}
