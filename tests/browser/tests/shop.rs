//! The demo shop as people use it: in browsers, through its pages alone.

use fantoccini::cookies::Cookie;
use sessile_browser_tests::{Browser, DESKTOP, Demo, Driver, Failure, Outcome, PHONE};

const ADA: (&str, &str) = ("ada", "lovelace");

/// A row of "Your sessions" that is not the one looking.
const END_ANOTHER: &str =
    "[data-test='session-row']:not(:has([data-test='session-current'])) [data-test='session-end']";

/// A cart filled before signing in, seen on two devices, across a restart, until one device ends the other.
///
/// [S05] [S06] [S09] [S11]
#[tokio::test]
async fn two_devices_share_an_account_until_one_ends_the_other() -> Outcome {
    let mut shop = Demo::start()?;
    let driver = Driver::start()?;
    let laptop = driver.open(DESKTOP).await?;
    let phone = driver.open(PHONE).await?;

    fill_cart(&shop, &laptop).await?;
    let anonymous = session_cookie(&laptop).await?;
    sign_in(&shop, &laptop, false).await?;
    assert_ne!(session_cookie(&laptop).await?.value(), anonymous.value(), "signing in makes a new token");
    assert_eq!(in_cart(&laptop).await?, 2, "what was in the cart before signing in still is");

    sign_in(&shop, &phone, false).await?;
    assert_eq!(in_cart(&phone).await?, 0, "a cart belongs to its session");
    phone.goto(&shop.url("/sessions")).await?;
    assert_eq!(phone.count("session-row").await?, 2);
    assert_eq!(phone.count("session-current").await?, 1);
    phone.screenshot("sessions-phone").await?;

    shop.restart()?;

    laptop.goto(&shop.url("/cart")).await?;
    assert_eq!(laptop.text("signed-in-as").await?, "ada", "a restart signs nobody out");
    assert_eq!(laptop.count("cart-line").await?, 2, "and empties no cart");
    laptop.screenshot("cart-after-restart").await?;
    phone.reload().await?;
    assert_eq!(phone.text("signed-in-as").await?, "ada");

    laptop.goto(&shop.url("/sessions")).await?;
    laptop.click_css(END_ANOTHER).await?;
    assert_eq!(laptop.count("session-row").await?, 1);
    assert_eq!(laptop.text("signed-in-as").await?, "ada", "the one that ended the other goes on");

    phone.click_css("a[href='/cart']").await?;
    assert_eq!(phone.count("signed-in-as").await?, 0, "the ended one is out at its next click");
    assert_eq!(phone.count("sign-in-link").await?, 1);
    shop.stop()
}

/// Signing out ends the session itself: the cookie it had is worth nothing, even to somebody who kept it.
///
/// [S03] [S09]
#[tokio::test]
async fn an_old_cookie_is_worth_nothing_after_signing_out() -> Outcome {
    let mut shop = Demo::start()?;
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;

    fill_cart(&shop, &browser).await?;
    sign_in(&shop, &browser, true).await?;
    let kept = session_cookie(&browser).await?;
    browser.click("sign-out").await?;
    assert_eq!(browser.count("sign-in-link").await?, 1);

    // As somebody who copied the cookie would: with a browser of their own.
    let thief = driver.open(DESKTOP).await?;
    thief.goto(&shop.url("/")).await?;
    thief.set_cookie(kept.clone()).await?;
    assert_eq!(session_cookie(&thief).await?.value(), kept.value(), "the browser has the old cookie");
    thief.reload().await?;
    assert_eq!(thief.count("signed-in-as").await?, 0);
    assert_eq!(thief.count("sign-in-link").await?, 1);
    assert_eq!(in_cart(&thief).await?, 0);
    shop.stop()
}

/// "Remember me" is what makes the cookie outlive the browser; without it the browser forgets.
///
/// [S17]
#[tokio::test]
async fn only_remember_me_makes_the_cookie_persistent() -> Outcome {
    let mut shop = Demo::start()?;
    let driver = Driver::start()?;

    let visitor = driver.open(DESKTOP).await?;
    sign_in(&shop, &visitor, false).await?;
    let cookie = session_cookie(&visitor).await?;
    assert_eq!(cookie.expires_datetime(), None, "{cookie}");
    // Not `Secure`: the shop has no TLS, and over plain HTTP not every browser would take it.
    assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(false)), "{cookie}");

    let regular = driver.open(DESKTOP).await?;
    sign_in(&shop, &regular, true).await?;
    let cookie = session_cookie(&regular).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_err(|cause| Failure::new(cause.to_string()))?.as_secs();
    let expires = cookie.expires_datetime().map_or(0, |at| at.unix_timestamp());
    let days = expires.saturating_sub_unsigned(now) / 86_400;
    assert!((1..=400).contains(&days), "{cookie}: expires in {days} days");
    shop.stop()
}

/// What a handler had to say is said on the page after the redirect, once.
#[tokio::test]
async fn a_message_after_a_redirect_is_shown_once() -> Outcome {
    let mut shop = Demo::start()?;
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;

    browser.goto(&shop.url("/")).await?;
    assert_eq!(browser.count("flash").await?, 0);
    let item = first_items(&browser).await?.remove(0);
    browser.click(&item).await?;
    assert_eq!(browser.count("flash").await?, 1);
    browser.goto(&shop.url("/cart")).await?;
    assert_eq!(browser.count("flash").await?, 0);
    shop.stop()
}

/// Every page on a desktop and a phone, light and dark: nothing sticks out, nothing is refused or missing.
#[tokio::test]
async fn every_page_fits_every_screen() -> Outcome {
    let mut shop = Demo::start()?;
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;

    looks_right(&shop, &browser, "sign-in", "/sign-in").await?;
    fill_cart(&shop, &browser).await?;
    sign_in(&shop, &browser, false).await?;
    looks_right(&shop, &browser, "catalogue", "/").await?;
    looks_right(&shop, &browser, "cart", "/cart").await?;
    looks_right(&shop, &browser, "sessions", "/sessions").await?;
    assert_eq!(browser.complaints().await?, Vec::<String>::new());
    shop.stop()
}

async fn looks_right(shop: &Demo, browser: &Browser, name: &str, path: &str) -> Outcome {
    for (screen, device) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
        let mut brightness = Vec::new();
        for (screen, scheme) in [(screen, "light"), (screen.dark(), "dark")] {
            browser.resize(screen).await?;
            browser.goto(&shop.url(path)).await?;
            browser.screenshot(&format!("{name}-{device}-{scheme}")).await?;
            // A phone zooms out from a page that is too wide, and `innerWidth` with it: the screen's own width
            // is what counts.
            let width = number(browser, "document.documentElement.scrollWidth").await?;
            assert!(width <= u64::from(screen.width), "{path} is {width} pixels wide on a {device}");
            brightness.push(number(browser, TEXT_BRIGHTNESS).await?);
        }
        assert!(
            brightness[0] + 200 < brightness[1],
            "{path}: text is light on dark, dark on light {brightness:?}"
        );
    }
    Ok(())
}

/// The sum of red, green and blue of the page's text, 0 to 765.
const TEXT_BRIGHTNESS: &str = "(() => { const canvas = document.createElement('canvas').getContext('2d'); \
    canvas.fillStyle = getComputedStyle(document.body).color; canvas.fillRect(0, 0, 1, 1); \
    const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data; return red + green + blue; })()";

async fn number(browser: &Browser, expression: &str) -> Outcome<u64> {
    let value = browser.evaluate(expression).await?;
    value.as_u64().ok_or_else(|| Failure::new(format!("{expression} is {value}, not a number")))
}

/// Puts the first two things of the catalogue into the cart.
async fn fill_cart(shop: &Demo, browser: &Browser) -> Outcome {
    browser.goto(&shop.url("/")).await?;
    for (number, item) in first_items(browser).await?.iter().enumerate() {
        browser.goto(&shop.url("/")).await?;
        browser.click(item).await?;
        assert_eq!(in_cart(browser).await?, number as u64 + 1);
    }
    browser.goto(&shop.url("/cart")).await?;
    assert_eq!(browser.count("cart-line").await?, 2);
    Ok(())
}

/// The hooks that add the first two things of the catalogue on the screen.
async fn first_items(browser: &Browser) -> Outcome<Vec<String>> {
    let mut items = browser.hooks("add-").await?;
    items.dedup();
    items.truncate(2);
    if items.len() == 2 {
        Ok(items)
    } else {
        Err(Failure::new(format!("the catalogue offers only {items:?}")))
    }
}

/// The number at the cart, which may be hidden while it is 0.
async fn in_cart(browser: &Browser) -> Outcome<u64> {
    number(browser, "Number(document.querySelector(\"[data-test='cart-count']\").textContent)").await
}

async fn sign_in(shop: &Demo, browser: &Browser, remember: bool) -> Outcome {
    browser.goto(&shop.url("/")).await?;
    browser.click("sign-in-link").await?;
    browser.fill("user", ADA.0).await?;
    browser.fill("password", ADA.1).await?;
    if remember {
        browser.click_css("[name='remember']").await?;
    }
    browser.click_css("form[action='/sign-in'] button:not([type='button'])").await?;
    assert_eq!(browser.text("signed-in-as").await?, ADA.0, "signed in");
    Ok(())
}

async fn session_cookie(browser: &Browser) -> Outcome<Cookie<'static>> {
    let cookies = browser.cookies().await?;
    let found = cookies.iter().find(|cookie| cookie.name().contains("session"));
    found.cloned().ok_or_else(|| Failure::new(format!("no session cookie among {cookies:?}")))
}
