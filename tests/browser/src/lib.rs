//! What a test needs to look at the demo shop with real browsers: the server, the driver, the browsers.
//!
//! A test starts a [`Demo`] and a [`Driver`], opens as many [`Browser`]s as it wants people, and finds things
//! on the page by their `data-test` hook, never by their text or place. Everything that was started ends with
//! the value that started it, by its process id, also when the test fails.
//!
//! `SESSILE_TEST_CHROMIUM` and `SESSILE_TEST_CHROMEDRIVER` name the programs; `cargo xtask test` sets them.
//! Without them a test fails and says so: it must never pass for want of a browser.
#![forbid(unsafe_code)]

mod browser;
mod demo;
mod driver;
mod places;
mod process;

use std::fmt;

pub use browser::{Browser, DESKTOP, PHONE, Screen};
pub use demo::Demo;
pub use driver::Driver;

/// The outcome of a step, and of a whole test.
pub type Outcome<T = ()> = Result<T, Failure>;

/// What went wrong, in a sentence, with what the browser or the server showed at that moment.
pub struct Failure(String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A step that failed because of `cause`.
    pub(crate) fn because(step: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self(format!("{step}: {cause}"))
    }
}

/// The text itself: the test harness prints a failed test's error with `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
