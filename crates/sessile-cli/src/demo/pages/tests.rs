//! What every page must keep, in every state that it can be in.

use axum::http::StatusCode;
use maud::Markup;

use super::sessions::{Device, Row};
use super::sign_in::Attempt;
use super::{Flash, Page};
use crate::demo::cart::Cart;
use crate::demo::catalogue::GOODS;
use crate::demo::pictures::picture;
use crate::demo::users::USERS;
use crate::output::time::Moment;

fn anonymous() -> Page<'static> {
    Page::default()
}

fn ada() -> Page<'static> {
    let flash =
        |category: &str| Flash { category: category.to_owned(), message: format!("a {category} message") };
    Page {
        signed_in_as: Some("ada"),
        cart_count: 4,
        flashes: ["success", "warning", "danger", "info", "other"].map(flash).to_vec(),
    }
}

fn full_cart() -> Cart {
    let mut cart = Cart::default();
    [0, 1, 1, 7].iter().for_each(|good: &usize| cart.add(&GOODS[*good]));
    cart
}

fn row(id: &str, device: Device, current: bool) -> Row {
    let moment = || Moment {
        relative: "in 29 min".to_owned(),
        exact: "22 Nov 2026, 21:00 UTC".to_owned(),
        machine: "2026-11-22T21:00:00Z".to_owned(),
    };
    Row {
        id: id.to_owned(),
        device,
        label: "Firefox on Linux".to_owned(),
        current,
        remembered: !current,
        signed_in: current.then(moment),
        last_seen: Some(moment()),
        expires: moment(),
    }
}

fn rows() -> Vec<Row> {
    vec![
        row("row-1", Device::Computer, true),
        row("row-2", Device::Phone, false),
        row("row-3", Device::Unknown, false),
    ]
}

/// Every page, in every state.
fn all(page: &Page<'_>) -> Vec<String> {
    let failed = Attempt { name: "ada", remember: true, error: Some("Wrong.") };
    let mut pages: Vec<Markup> = vec![
        super::catalogue::page(page, &Cart::default()),
        super::catalogue::page(page, &full_cart()),
        super::cart::page(page, &Cart::default()),
        super::cart::page(page, &full_cart()),
        super::sign_in::page(page, &Attempt::default()),
        super::sign_in::page(page, &failed),
        super::sessions::page(page, "ada", &rows()),
        super::sessions::page(page, "ada", &rows()[..1]),
    ];
    for status in [400, 403, 404, 409, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        pages.push(super::error::page(status));
    }
    pages.into_iter().map(Markup::into_string).collect()
}

fn everything() -> Vec<String> {
    [all(&anonymous()), all(&ada())].concat()
}

/// How often an element with that `data-test` is on the page.
fn hooks(html: &str, name: &str) -> usize {
    html.matches(&format!("data-test=\"{name}\"")).count()
}

/// The opening tags of all elements of that name.
fn tags<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("<{name}");
    html.split(&opening)
        .skip(1)
        .filter(|rest| rest.starts_with([' ', '>']))
        .map(|rest| &rest[..rest.find('>').expect("a tag ends")])
        .collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

fn forms(html: &str) -> Vec<&str> {
    html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()).collect()
}

#[test]
fn every_page_has_its_landmarks_one_heading_and_a_title() {
    for html in everything() {
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        for landmark in ["header", "main", "footer", "h1", "title"] {
            assert_eq!(tags(&html, landmark).len(), 1, "{landmark} in {html}");
        }
        let body = &html[html.find("<body>").unwrap()..];
        assert!(body.starts_with("<body><a class=\"skip\" href=\"#content\">"));
        assert_eq!(attribute(tags(&html, "main")[0], "id"), Some("content"));
    }
}

#[test]
fn nothing_on_a_page_needs_what_the_content_security_policy_forbids() {
    for html in everything() {
        assert!(tags(&html, "script").is_empty() && tags(&html, "style").is_empty());
        for forbidden in [" style=", " onclick=", " onload=", "javascript:", "data:", "//"] {
            assert!(!html.contains(forbidden), "{forbidden} in {html}");
        }
    }
}

#[test]
fn every_picture_exists_and_says_what_it_shows() {
    for html in everything() {
        for image in tags(&html, "img") {
            let name =
                attribute(image, "src").and_then(|src| src.strip_prefix("/pictures/")?.strip_suffix(".svg"));
            assert!(picture(name.unwrap()).is_some(), "{image}");
            assert!(attribute(image, "alt").is_some() && attribute(image, "height").is_some(), "{image}");
        }
    }
}

#[test]
fn every_field_has_a_label_and_every_id_is_there_once() {
    for html in everything() {
        for input in tags(&html, "input").into_iter().filter(|input| !input.contains("type=\"hidden\"")) {
            let id = attribute(input, "id").expect("a visible field has an id");
            assert!(html.contains(&format!("<label for=\"{id}\">")), "{id}");
        }
        for part in html.split(" id=\"").skip(1) {
            let id = part.split('"').next().unwrap();
            assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
        for referring in ["aria-labelledby", "aria-describedby"] {
            for part in html.split(&format!("{referring}=\"")).skip(1) {
                let id = part.split('"').next().unwrap();
                assert!(html.contains(&format!(" id=\"{id}\"")), "{referring} {id}");
            }
        }
    }
}

#[test]
fn every_form_posts() {
    for html in everything() {
        assert!(
            forms(&html)
                .iter()
                .all(|form| form.starts_with(" method=\"post\"") || form.contains(" method=\"post\" "))
        );
    }
}

#[test]
fn the_header_says_who_is_signed_in_and_how_much_is_in_the_cart() {
    let html = super::cart::page(&ada(), &full_cart()).into_string();
    assert!(html.contains("data-test=\"signed-in-as\">ada<"));
    assert!(html.contains("data-test=\"cart-count\">4<"));
    assert_eq!((hooks(&html, "sign-out"), hooks(&html, "sign-in-link")), (1, 0));

    let html = super::cart::page(&anonymous(), &Cart::default()).into_string();
    assert!(html.contains("data-test=\"cart-count\">0<"));
    assert_eq!(
        (hooks(&html, "sign-out"), hooks(&html, "sign-in-link"), hooks(&html, "signed-in-as")),
        (0, 1, 0)
    );
}

#[test]
fn a_page_without_a_session_says_nothing_about_who_is_signed_in() {
    let html = super::error::page(StatusCode::SERVICE_UNAVAILABLE).into_string();
    for hook in ["sign-in-link", "signed-in-as", "sign-out", "cart-count"] {
        assert_eq!(hooks(&html, hook), 0, "{hook}");
    }
    assert!(html.contains("You have not been signed out"));
}

#[test]
fn messages_are_shown_in_order_and_unknown_categories_as_information() {
    let html = super::cart::page(&ada(), &full_cart()).into_string();
    assert_eq!(hooks(&html, "flash"), 5);
    assert!(html.contains("class=\"flash danger\" data-test=\"flash\">a danger message<"));
    assert!(html.contains("class=\"flash info\" data-test=\"flash\">a other message<"));
    assert!(html.find("a success message") < html.find("a warning message"));
}

#[test]
fn every_good_can_be_put_into_the_cart() {
    let html = super::catalogue::page(&ada(), &full_cart()).into_string();
    for good in &GOODS {
        let button = format!("data-test=\"add-{}\"", good.slug);
        let forms = forms(&html);
        let form = forms.iter().find(|form| form.contains(&button)).expect("a form for every good");
        assert!(form.contains("action=\"/cart/add\""));
        assert!(form.contains(&format!("name=\"item\" value=\"{}\"", good.slug)));
        assert!(html.contains(good.name) && html.contains(&good.price.to_string()));
    }
    assert!(html.contains("2 in your cart"));
}

#[test]
fn the_cart_shows_a_line_for_every_good_and_what_all_of_it_costs() {
    let html = super::cart::page(&ada(), &full_cart()).into_string();
    assert_eq!(hooks(&html, "cart-line"), 3);
    assert!(html.contains("€128.00") && html.contains("€191.00"));
    let empty = super::cart::page(&ada(), &Cart::default()).into_string();
    assert_eq!(hooks(&empty, "cart-line"), 0);
    assert!(empty.contains("Your cart is empty"));
}

#[test]
fn the_sign_in_page_introduces_everybody_and_keeps_what_was_typed() {
    let failed = Attempt { name: "\"><b>ada", remember: true, error: Some("Wrong.") };
    let html = super::sign_in::page(&anonymous(), &failed).into_string();
    for user in &USERS {
        assert!(html.contains(user.id) && html.contains(user.password));
    }
    assert!(html.contains("value=\"&quot;&gt;&lt;b&gt;ada\""));
    assert!(html.contains(" checked") && html.contains("role=\"alert\""));
    let password = tags(&html, "input").into_iter().find(|input| input.contains("type=\"password\""));
    assert_eq!(attribute(password.unwrap(), "value"), None);
}

#[test]
fn each_session_can_be_ended_and_the_others_all_at_once() {
    let html = super::sessions::page(&ada(), "ada", &rows()).into_string();
    assert_eq!((hooks(&html, "session-row"), hooks(&html, "session-end")), (3, 3));
    assert_eq!((hooks(&html, "session-current"), hooks(&html, "end-others")), (1, 1));
    for id in ["row-1", "row-2", "row-3"] {
        assert!(html.contains(&format!("name=\"id\" value=\"{id}\"")));
    }
    assert!(html.contains("<time datetime=\"2026-11-22T21:00:00Z\">") && html.contains("not known"));

    let alone = super::sessions::page(&ada(), "ada", &rows()[..1]).into_string();
    assert_eq!((hooks(&alone, "end-others"), hooks(&alone, "session-end")), (0, 1));
}

#[test]
fn what_visitors_send_is_shown_as_text() {
    let evil = "<script>alert(1)</script>";
    let flashes = vec![Flash { category: "\" onclick=\"".to_owned(), message: evil.to_owned() }];
    let page = Page { signed_in_as: Some(evil), flashes, ..ada() };
    let rows = [Row { label: evil.to_owned(), id: evil.to_owned(), ..row("", Device::Unknown, false) }];
    let html = super::sessions::page(&page, evil, &rows).into_string();
    assert!(tags(&html, "script").is_empty() && tags(&html, "b").is_empty() && !html.contains("onclick"));
}
