//! The harness itself: a browser opens, sees a page as large and as dark as asked, and ends.

use sessile_browser_tests::{DESKTOP, Driver, Outcome, PHONE};

const PAGE: &str = "data:text/html,<meta name=viewport content=width=device-width>\
    <style>@media (prefers-color-scheme: dark) { body { color: white } }</style>\
    <form><input name=q><button data-test=go>Go</button></form>\
    <p data-test=one>1</p><p data-test=other>2</p><p data-test=one>3</p>";

#[tokio::test]
async fn a_page_is_seen_by_its_hooks() -> Outcome {
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;
    browser.goto(PAGE).await?;
    assert_eq!(browser.count("one").await?, 2);
    assert_eq!(browser.text("other").await?, "2");
    assert_eq!(browser.hooks("o").await?, ["one", "other", "one"]);
    browser.fill("q", "tea").await?;
    assert_eq!(browser.evaluate("document.querySelector('[name=q]').value").await?, "tea");

    let failure = browser.click("nothing").await.unwrap_err().to_string();
    assert!(failure.contains("[data-test='nothing']") && failure.contains("The page was data:"), "{failure}");
    Ok(())
}

#[tokio::test]
async fn a_screen_is_as_large_and_as_dark_as_asked() -> Outcome {
    let driver = Driver::start()?;
    let browser = driver.open(PHONE.dark()).await?;
    browser.goto(PAGE).await?;
    assert_eq!(browser.evaluate("[innerWidth, innerHeight]").await?, serde_json::json!([390, 844]));
    assert_eq!(browser.evaluate("getComputedStyle(document.body).color").await?, "rgb(255, 255, 255)");
    browser.screenshot("smoke-phone-dark").await?;

    browser.resize(DESKTOP).await?;
    assert_eq!(browser.evaluate("innerWidth").await?, 1280);
    assert_eq!(browser.evaluate("getComputedStyle(document.body).color").await?, "rgb(0, 0, 0)");
    Ok(())
}

#[tokio::test]
async fn what_the_browser_complains_about_is_told() -> Outcome {
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;
    browser.goto(PAGE).await?;
    assert_eq!(browser.complaints().await?, Vec::<String>::new());
    browser.evaluate("console.error('this is wrong')").await?;
    let complaints = browser.complaints().await?;
    assert!(complaints.len() == 1 && complaints[0].contains("this is wrong"), "{complaints:?}");
    Ok(())
}
