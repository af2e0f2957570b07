//! One browser: what a person does and sees.
//!
//! Things on a page are named by their `data-test` hook. Methods that act wait for the page that follows;
//! methods that look do not wait: the shop is rendered on the server, so a loaded page is complete.

use std::time::{Duration, Instant};

use fantoccini::cookies::Cookie;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::{Failure, Outcome, places};

/// How long a click may take to lead to a loaded page.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to ask whether it is there.
const POLL: Duration = Duration::from_millis(10);

/// A screen, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width of the page.
    pub width: u32,
    /// Height of the page.
    pub height: u32,
    /// A phone's browser: it heeds the page's viewport settings, and shows no scroll bars.
    pub mobile: bool,
    /// Whether the person prefers dark pages.
    pub dark: bool,
}

/// A desktop window, light.
pub const DESKTOP: Screen = Screen { width: 1280, height: 900, mobile: false, dark: false };

/// A phone held upright, light.
pub const PHONE: Screen = Screen { width: 390, height: 844, mobile: true, dark: false };

impl Screen {
    /// The same screen for somebody who prefers dark pages.
    #[must_use]
    pub fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// A browser with a profile of its own, opened by [`Driver::open`](crate::Driver::open).
#[derive(Debug)]
pub struct Browser {
    client: Client,
}

impl Browser {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Pretends another screen; the page at hand is laid out again.
    ///
    /// # Errors
    /// When the browser refuses.
    pub async fn resize(&self, screen: Screen) -> Outcome {
        let Screen { width, height, mobile, dark } = screen;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await
    }

    /// Opens a URL and waits until it is loaded.
    ///
    /// # Errors
    /// When the page cannot be loaded.
    pub async fn goto(&self, url: &str) -> Outcome {
        self.client.goto(url).await.map_err(|cause| Failure::because(format!("cannot open {url}"), cause))
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub async fn reload(&self) -> Outcome {
        self.client.refresh().await.map_err(|cause| Failure::because("cannot load the page again", cause))
    }

    /// Clicks what carries this hook: the link or button itself, or the first one inside it.
    ///
    /// # Errors
    /// When there is no such thing on the page.
    pub async fn click(&self, hook: &str) -> Outcome {
        self.click_css(&selector(hook)).await
    }

    /// As [`Browser::click`], for any CSS selector.
    ///
    /// # Errors
    /// When there is no such thing on the page.
    pub async fn click_css(&self, css: &str) -> Outcome {
        let found = self.find(css).await?;
        let inside = found.find_all(Locator::Css("a, button, input[type=submit]")).await;
        let target = inside.ok().and_then(|all| all.into_iter().next()).unwrap_or(found);
        let kind = self.done(&format!("reading what {css} is"), target.tag_name().await).await?;
        self.evaluate("document.documentElement.dataset.left = 'yes'").await?;
        self.done(&format!("clicking {css}"), target.click().await).await?;
        // A box to tick leads nowhere.
        if kind == "input" { Ok(()) } else { self.next_page(css).await }
    }

    /// Waits until the page that was marked as left is gone and the next one is loaded. ChromeDriver's own waiting
    /// misses a page that a slow answer, such as to a sign-in, keeps from beginning to load.
    async fn next_page(&self, css: &str) -> Outcome {
        const LOADED: &str =
            "return !('left' in document.documentElement.dataset) && document.readyState === 'complete'";
        let deadline = Instant::now() + PATIENCE;
        // Between two pages there is no document to ask, which is an error like any other.
        while !matches!(self.client.execute(LOADED, Vec::new()).await, Ok(Value::Bool(true))) {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("no page followed the click on {css}")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Types into the form field of this name, after emptying it.
    ///
    /// # Errors
    /// When there is no such field.
    pub async fn fill(&self, name: &str, text: &str) -> Outcome {
        let field = self.find(&format!("[name='{name}']")).await?;
        self.done(&format!("emptying {name}"), field.clear().await).await?;
        self.done(&format!("typing into {name}"), field.send_keys(text).await).await
    }

    /// The number of things that carry this hook.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn count(&self, hook: &str) -> Outcome<usize> {
        Ok(self.find_all(&selector(hook)).await?.len())
    }

    /// The visible text of what carries this hook.
    ///
    /// # Errors
    /// When there is no such thing on the page.
    pub async fn text(&self, hook: &str) -> Outcome<String> {
        let found = self.find(&selector(hook)).await?;
        self.done(&format!("reading {hook}"), found.text().await).await
    }

    /// The hooks on the page that begin like this, in the order of the page.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn hooks(&self, beginning: &str) -> Outcome<Vec<String>> {
        let mut hooks = Vec::new();
        for found in self.find_all(&format!("[data-test^='{beginning}']")).await? {
            let hook = self.done("reading a hook", found.attr("data-test").await).await?;
            hooks.extend(hook);
        }
        Ok(hooks)
    }

    /// The value of a JavaScript expression in the page.
    ///
    /// # Errors
    /// When it throws.
    pub async fn evaluate(&self, expression: &str) -> Outcome<Value> {
        let script = format!("return {expression};");
        let value = self.client.execute(&script, Vec::new()).await;
        self.done(&format!("evaluating {expression}"), value).await
    }

    /// The cookies that the page's address would be sent.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn cookies(&self) -> Outcome<Vec<Cookie<'static>>> {
        self.done("reading cookies", self.client.get_all_cookies().await).await
    }

    /// Puts a cookie into the browser, as if the page's address had set it.
    ///
    /// # Errors
    /// When the browser refuses it.
    pub async fn set_cookie(&self, cookie: Cookie<'static>) -> Outcome {
        self.done("setting a cookie", self.client.add_cookie(cookie).await).await
    }

    /// Saves what is on the screen as `<target>/screenshots/NAME.png`.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub async fn screenshot(&self, name: &str) -> Outcome {
        let picture = self.done("taking a screenshot", self.client.screenshot().await).await?;
        let file = places::screenshot(name)?;
        std::fs::write(&file, picture)
            .map_err(|cause| Failure::because(format!("cannot write {}", file.display()), cause))
    }

    /// What the browser complained about since it was last asked: failed loads, refused styles, scripts' errors.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn complaints(&self) -> Outcome<Vec<String>> {
        let log = Command { path: "se/log", body: json!({ "type": "browser" }) };
        let entries = self.done("reading the browser's log", self.client.issue_cmd(log).await).await?;
        let serious = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        let entries = entries.as_array().into_iter().flatten().filter(serious);
        Ok(entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Outcome {
        let body = json!({ "cmd": command, "params": parameters });
        let ran = self.client.issue_cmd(Command { path: "goog/cdp/execute", body }).await;
        self.done(command, ran).await.map(drop)
    }

    async fn find(&self, css: &str) -> Outcome<Element> {
        self.done(&format!("looking for {css}"), self.client.find(Locator::Css(css)).await).await
    }

    async fn find_all(&self, css: &str) -> Outcome<Vec<Element>> {
        self.done(&format!("looking for {css}"), self.client.find_all(Locator::Css(css)).await).await
    }

    /// Adds to a failed step where the browser was and what the page said.
    async fn done<T>(&self, step: &str, outcome: Result<T, CmdError>) -> Outcome<T> {
        let cause = match outcome {
            Ok(value) => return Ok(value),
            Err(cause) => cause,
        };
        let page = "return location.href + '\\n' + (document.body ? document.body.innerText : '')";
        let page = match self.client.execute(page, Vec::new()).await {
            Ok(Value::String(page)) => page,
            _ => "(the page could not be read)".to_owned(),
        };
        Err(Failure::new(format!("{step}: {cause}\nThe page was {page}")))
    }
}

fn selector(hook: &str) -> String {
    format!("[data-test='{hook}']")
}

/// A command of ChromeDriver's own, beyond the standard.
#[derive(Debug)]
struct Command {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
