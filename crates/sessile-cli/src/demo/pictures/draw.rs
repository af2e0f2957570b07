//! The palette and the few means that all pictures are drawn with.

use maud::{Markup, html};

/// The shop's colours, named after what they are the colour of.
pub(super) mod colour {
    pub(in super::super) const INK: &str = "#16343c";
    pub(in super::super) const DEEP: &str = "#1f5661";
    pub(in super::super) const SEA: &str = "#33838a";
    pub(in super::super) const SHALLOW: &str = "#7db7b4";
    pub(in super::super) const FOAM: &str = "#cfe4de";
    pub(in super::super) const PEARL: &str = "#fbf4e6";
    pub(in super::super) const SHELL: &str = "#e6d6bd";
    pub(in super::super) const SAND: &str = "#ecd6a8";
    pub(in super::super) const SUN: &str = "#f0b84a";
    pub(in super::super) const BLUSH: &str = "#f5b59d";
    pub(in super::super) const CORAL: &str = "#e5674a";
    pub(in super::super) const CORAL_DARK: &str = "#b9432e";
    pub(in super::super) const PLUM: &str = "#704a70";
    pub(in super::super) const PLUM_DARK: &str = "#51344f";
    pub(in super::super) const SLATE: &str = "#37506b";
    pub(in super::super) const SLATE_DARK: &str = "#263a52";
    pub(in super::super) const KELP: &str = "#3f7d5c";
    pub(in super::super) const KELP_DARK: &str = "#2a5a45";
    pub(in super::super) const LEAF: &str = "#a3bf6b";
    pub(in super::super) const WOOD: &str = "#8c5c3f";
}

/// An SVG document of that size.
pub(super) fn canvas(width: u32, height: u32, content: Markup) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) { (content) }
    }
}

/// The picture of a good: 400 by 400, a wall and a table that ends in the lower third.
pub(super) fn tile(wall: &str, table: &str, content: Markup) -> Markup {
    canvas(
        400,
        400,
        html! {
            rect width="400" height="400" fill=(wall) {}
            rect y="286" width="400" height="114" fill=(table) {}
            (content)
        },
    )
}

/// The shadow of something that stands on a table.
pub(super) fn shadow(cx: u32, cy: u32, rx: u32) -> Markup {
    html! { ellipse cx=(cx) cy=(cy) rx=(rx) ry=(rx / 8) fill=(colour::INK) opacity="0.18" {} }
}

/// A line with round ends.
pub(super) fn stroke(path: &str, colour: &str, width: f64) -> Markup {
    html! { path d=(path) fill="none" stroke=(colour) stroke-width=(short(width)) stroke-linecap="round" stroke-linejoin="round" {} }
}

/// A filled outline.
pub(super) fn shape(path: &str, colour: &str) -> Markup {
    html! { path d=(path) fill=(colour) {} }
}

/// A filled circle.
pub(super) fn dot((x, y): Point, radius: f64, colour: &str) -> Markup {
    html! { circle cx=(short(x)) cy=(short(y)) r=(short(radius)) fill=(colour) {} }
}

/// Where something is: to the right, and down.
pub(super) type Point = (f64, f64);

/// The point at that distance and angle (in degrees; 0 is right, 90 is down) from another.
pub(super) fn polar((x, y): Point, distance: f64, degrees: f64) -> Point {
    let (sin, cos) = degrees.to_radians().sin_cos();
    (x + distance * cos, y + distance * sin)
}

/// One digit after the point: finer than any screen shows, and the document stays small.
pub(super) fn short(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// `x y`, as paths want it.
pub(super) fn xy((x, y): Point) -> String {
    format!("{} {}", short(x), short(y))
}

/// An outline through those points, with straight edges.
pub(super) fn polygon(points: &[Point]) -> String {
    let points: Vec<_> = points.iter().map(|point| xy(*point)).collect();
    format!("M{}Z", points.join("L"))
}

/// Irregularity that is the same each time: a picture must not change between two visits.
pub(super) struct Dice(u32);

impl Dice {
    pub(super) fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(2_654_435_761).max(1))
    }

    /// A number between the two.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        // Xorshift by Marsaglia; the upper bits are the better ones.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        low + (high - low) * f64::from(self.0 >> 8) / f64::from(1_u32 << 24)
    }
}
