//! The demo shop: a small server-rendered shop that a person can use in a browser, so that every promise about
//! sessions can be seen at work. Its goods are invented and nothing is ever sold; its sessions are real.
//!
//! The pages are pure functions from plain values to markup: nothing in [`pages`] may load, change or
//! even know a session. There is no JavaScript, and no style outside the one style sheet, so the
//! Content-Security-Policy can forbid everything but the shop's own files.

mod assets;
mod cart;
mod catalogue;
mod pages;
mod pictures;
mod users;
