//! The small pictures: the shop's mark, the two people, and what they are signed in on.

use maud::{Markup, html};

use super::draw::{canvas, colour, dot, shape, stroke};
use super::life::barnacle;

/// The shop's mark: one barnacle, settled.
pub(super) fn mark() -> Markup {
    canvas(
        64,
        64,
        html! {
            rect width="64" height="64" rx="18" fill=(colour::CORAL) {}
            (barnacle((32.0, 32.0), 22.0, 0.0))
        },
    )
}

/// A portrait: a coloured disc, shoulders and a face, with what makes the person on top.
fn portrait(ground: &str, clothes: &str, behind: Markup, in_front: Markup) -> Markup {
    canvas(
        112,
        112,
        html! {
            (dot((56.0, 56.0), 56.0, ground))
            (behind)
            (shape("M18 97C22 80 40 74 56 74S90 80 94 97A56 56 0 0 1 18 97Z", clothes))
            rect x="48" y="62" width="16" height="20" rx="8" fill="#e0a98a" {}
            ellipse cx="56" cy="50" rx="19" ry="23" fill="#f3c6a8" {}
            (dot((49.0, 51.0), 2.0, colour::INK))
            (dot((63.0, 51.0), 2.0, colour::INK))
            (stroke("M50 61Q56 65 62 61", colour::CORAL_DARK, 2.2))
            (in_front)
        },
    )
}

pub(super) fn ada() -> Markup {
    portrait(
        "#e7d3e2",
        colour::PLUM,
        html! {
            (dot((56.0, 20.0), 13.0, "#3d2a26"))
            ellipse cx="56" cy="46" rx="27" ry="27" fill="#3d2a26" {}
        },
        html! {
            (shape("M36 50C32 26 46 22 56 22C66 22 80 26 76 50C74 41 66 37 56 33C46 37 38 41 36 50Z", "#3d2a26"))
            (dot((74.0, 26.0), 5.0, colour::CORAL))
            (dot((80.0, 32.0), 4.0, colour::SUN))
            (stroke("M44 78Q56 88 68 78", colour::PEARL, 3.0))
        },
    )
}

pub(super) fn grace() -> Markup {
    portrait(
        colour::FOAM,
        colour::SLATE_DARK,
        html! { ellipse cx="56" cy="48" rx="24" ry="24" fill="#d8d5cf" {} },
        html! {
            (shape("M37 46C36 36 44 34 56 34S76 36 75 46L70 40H42Z", "#d8d5cf"))
            (shape("M32 36C32 18 44 14 56 14S80 18 80 36Q56 26 32 36Z", colour::SLATE_DARK))
            (shape("M34 37Q56 27 78 37L74 41Q56 34 38 41Z", colour::INK))
            (dot((56.0, 24.0), 4.5, colour::SUN))
            path d="M43 51a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0 -13 0M56 51a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0 -13 0" fill="none" stroke=(colour::INK) stroke-width="1.8" {}
            (shape("M48 76L56 86L64 76L60 74H52Z", colour::PEARL))
        },
    )
}

/// What a session is on: drawn on a disc, so that it can be seen on a light and on a dark page.
fn device(content: Markup) -> Markup {
    canvas(112, 112, html! { (dot((56.0, 56.0), 56.0, colour::FOAM)) (content) })
}

pub(super) fn computer() -> Markup {
    device(html! {
        rect x="27" y="32" width="58" height="40" rx="5" fill=(colour::DEEP) {}
        rect x="32" y="37" width="48" height="30" rx="2" fill=(colour::SHALLOW) {}
        (shape("M32 60Q44 52 56 58T80 56V67H32Z", colour::SEA))
        rect x="20" y="75" width="72" height="7" rx="3.5" fill=(colour::INK) {}
    })
}

pub(super) fn phone() -> Markup {
    device(html! {
        rect x="38" y="22" width="36" height="68" rx="7" fill=(colour::DEEP) {}
        rect x="42" y="28" width="28" height="52" rx="2" fill=(colour::SHALLOW) {}
        (shape("M42 64Q49 58 56 63T70 61V80H42Z", colour::SEA))
        (dot((56.0, 85.0), 2.4, colour::SHALLOW))
    })
}

pub(super) fn unknown_device() -> Markup {
    device(html! {
        (stroke("M42 44C42 26 70 26 70 44C70 56 56 54 56 68", colour::DEEP, 8.0))
        (dot((56.0, 84.0), 5.0, colour::DEEP))
    })
}
