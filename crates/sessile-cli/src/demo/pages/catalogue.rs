//! The catalogue: everything on the shelf.

use maud::{Markup, html};

use super::{Page, Section, layout};
use crate::demo::cart::{Cart, MOST_OF_ONE};
use crate::demo::catalogue::{GOODS, Good};

/// The catalogue, with the counts of what is in the visitor's cart already.
pub(crate) fn page(page: &Page<'_>, cart: &Cart) -> Markup {
    let content = html! {
        section.hero {
            div {
                h1 { "Things that stay where you put them." }
                p.lead { "Eight goods for people who have settled, after animals that did so first." }
                p.lead-note { "Fill your cart, sign in, restart the server: the cart will still be here." }
            }
            img.hero-picture src="/pictures/sea-floor.svg" width="720" height="400" alt="A sea floor with kelp, corals, anemones and a rock full of barnacles";
        }
        section aria-labelledby="shelf" {
            h2 #shelf { "On the shelf" }
            ul.shelf role="list" { @for good in &GOODS { li #(good.slug) { (card(good, cart.count_of(good))) } } }
        }
    };
    layout::whole(page, Section::Shop, "Things that stay", content)
}

fn card(good: &Good, in_cart: u32) -> Markup {
    html! {
        article.card {
            img src={ "/pictures/" (good.slug) ".svg" } alt=(good.picture) width="400" height="400";
            div.card-text {
                h3 { (good.name) }
                p.price { (good.price) }
                p.line { (good.line) }
            }
            form.card-buy method="post" action="/cart/add" {
                input type="hidden" name="item" value=(good.slug);
                button type="submit" data-test={ "add-" (good.slug) } disabled[in_cart >= MOST_OF_ONE] {
                    "Add to cart" span.unseen { ": " (good.name) }
                }
                @if in_cart > 0 { p.in-cart { (in_cart) " in your cart" } }
            }
        }
    }
}
