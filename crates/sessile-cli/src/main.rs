//! The sessile command.
#[cfg(test)]
mod demo;

fn main() {}
