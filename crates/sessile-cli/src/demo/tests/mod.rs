//! The shop as its visitors meet it: requests in, pages and cookies out, on a clock and a store of the test's own.

mod answers;
mod opening;
mod story;
mod street;
