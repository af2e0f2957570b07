//! One picture for each of the goods, 400 by 400.

use maud::{Markup, html};

use super::draw::{canvas, colour, dot, polar, polygon, shadow, shape, short, stroke, tile, xy};
use super::life::{Coral, anemone, barnacle, kelp, mussel, sponge};

pub(super) fn barnacle_mug() -> Markup {
    let barnacles = [
        ((150.0, 226.0), 19.0, 10.0),
        ((216.0, 246.0), 23.0, 30.0),
        ((171.0, 267.0), 31.0, 0.0),
        ((213.0, 292.0), 17.0, 14.0),
        ((186.0, 219.0), 13.0, 40.0),
    ];
    tile(
        colour::FOAM,
        "#b4d3cc",
        html! {
            (shadow(212, 318, 116))
            (stroke("M262 168H286A44 44 0 0 1 286 256H256", colour::DEEP, 22.0))
            (shape("M114 122H272L260 292Q258 318 232 318H154Q128 318 126 292Z", colour::SEA))
            (shape("M236 122H272L260 292Q258 318 232 318H206Q232 316 234 290Z", colour::DEEP))
            ellipse cx="193" cy="122" rx="79" ry="17" fill="#4b9aa0" {}
            ellipse cx="193" cy="124" rx="67" ry="12" fill="#4b2e29" {}
            (stroke("M172 96C160 80 184 70 172 50", colour::PEARL, 7.0))
            (stroke("M212 96C200 76 226 66 212 40", colour::PEARL, 7.0))
            @for (centre, radius, turn) in barnacles { (barnacle(centre, radius, turn)) }
        },
    )
}

pub(super) fn coral_lamp() -> Markup {
    let coral = Coral {
        seed: 11,
        foot: (200.0, 314.0),
        length: 40.0,
        width: 17.0,
        forks: 4,
        colour: colour::CORAL,
        tips: colour::BLUSH,
    };
    tile(
        "#24505c",
        "#1a3e49",
        html! {
            circle cx="200" cy="150" r="168" fill=(colour::SUN) opacity="0.12" {}
            circle cx="200" cy="150" r="120" fill=(colour::SUN) opacity="0.16" {}
            ellipse cx="200" cy="326" rx="130" ry="22" fill=(colour::SUN) opacity="0.22" {}
            (stroke("M200 314V150", colour::CORAL, 13.0))
            (coral.draw())
            (shape("M136 330C138 308 170 302 200 302C230 302 262 308 264 330Z", colour::CORAL_DARK))
            (shape("M152 66H248L296 176Q200 194 104 176Z", "#f8dfa8"))
            (shape("M176 66H224L240 184Q200 190 160 184Z", "#fdf0cf"))
            (shape("M152 66H248L251 73H149Z", colour::SUN))
            (stroke("M106 177Q200 195 294 177", colour::SUN, 6.0))
        },
    )
}

pub(super) fn anemone_cushion() -> Markup {
    tile(
        "#f6d6c6",
        "#e9bda8",
        html! {
            (shadow(200, 336, 136))
            (shape("M62 62Q200 92 338 62Q312 200 338 338Q200 312 62 338Q88 200 62 62Z", colour::PLUM))
            (shape("M338 62Q312 200 338 338Q200 312 62 338Q210 300 338 62Z", colour::PLUM_DARK))
            (stroke("M62 62Q200 92 338 62Q312 200 338 338Q200 312 62 338Q88 200 62 62Z", "#9a739a", 6.0))
            @for corner in [(62.0, 62.0), (338.0, 62.0), (338.0, 338.0), (62.0, 338.0)] { (dot(corner, 9.0, colour::SUN)) }
            (anemone((200.0, 198.0), 106.0, 5))
        },
    )
}

pub(super) fn sponge_set() -> Markup {
    tile(
        "#f7e6b8",
        "#ecd396",
        html! {
            (shadow(200, 322, 140))
            (sponge((202.0, 318.0), 98.0, 232.0, [colour::CORAL, colour::CORAL_DARK], 3))
            (sponge((118.0, 324.0), 86.0, 148.0, [colour::PLUM, colour::PLUM_DARK], 8))
            (sponge((284.0, 324.0), 80.0, 112.0, [colour::SEA, colour::DEEP], 21))
        },
    )
}

pub(super) fn oyster_notebook() -> Markup {
    // Growth rings of a shell: pointed at the hinge, wide and frilled at the edge, all rings from the one hinge.
    let ring = |size: f64| {
        let points: Vec<_> = (0..60)
            .map(|step| {
                let turn = (f64::from(step) * 6.0).to_radians();
                let far = (turn / 2.0).sin();
                let frill = 1.0 + 0.05 * (turn * 9.0).sin() * far;
                let x = size * 86.0 * turn.sin() * far.powf(0.8) * frill;
                let y = size * 86.0 * (1.0 - turn.cos()) * frill;
                (192.0 + x, 268.0 - y)
            })
            .collect();
        polygon(&points)
    };
    let rings =
        [(1.0, "#7b90a4"), (0.91, "#97a9b8"), (0.81, "#b9c6cf"), (0.7, colour::PEARL), (0.58, "#e4dcea")];
    tile(
        "#dbe2e8",
        "#c3ced8",
        html! {
            (shadow(206, 346, 112))
            g transform="rotate(-7 200 200)" {
                (stroke("M232 330V366", colour::CORAL, 12.0))
                rect x="104" y="58" width="202" height="284" rx="10" fill=(colour::SLATE_DARK) {}
                rect x="110" y="64" width="192" height="270" rx="6" fill=(colour::PEARL) {}
                rect x="98" y="52" width="196" height="276" rx="10" fill=(colour::SLATE) {}
                path d="M108 52H124V328H108Q98 328 98 318V62Q98 52 108 52Z" fill=(colour::SLATE_DARK) {}
                @for (size, fill) in rings { (shape(&ring(size), fill)) }
                (dot((194.0, 204.0), 17.0, "#c9bcd2"))
                (dot((193.0, 202.0), 15.5, "#fffdf8"))
                (dot((187.5, 196.0), 4.0, "#e4d9ec"))
                (stroke("M170 298H222", "#7f95ab", 6.0))
                rect x="266" y="52" width="9" height="276" fill=(colour::CORAL) {}
            }
        },
    )
}

pub(super) fn mussel_bowl() -> Markup {
    tile(
        "#d5e3ea",
        "#bacfd9",
        html! {
            (shadow(200, 330, 112))
            ellipse cx="200" cy="186" rx="138" ry="30" fill="#8fa3c4" {}
            ellipse cx="200" cy="190" rx="126" ry="23" fill="#e0daea" {}
            (mussel((134.0, 226.0), 118.0, -34.0))
            (mussel((268.0, 226.0), 116.0, 32.0))
            (mussel((226.0, 232.0), 136.0, 12.0))
            (mussel((172.0, 236.0), 140.0, -12.0))
            (mussel((200.0, 246.0), 112.0, 2.0))
            rect x="150" y="306" width="100" height="26" rx="8" fill=(colour::SLATE_DARK) {}
            (shape("M62 186A138 30 0 0 0 338 186C338 262 284 318 200 318C116 318 62 262 62 186Z", colour::SLATE))
            (shape("M338 186C338 262 284 318 200 318C184 318 168 316 154 312C236 304 300 270 316 202A138 30 0 0 0 338 186Z", colour::SLATE_DARK))
            (stroke("M84 234Q150 268 232 246", "#6d8ab4", 5.0))
            (stroke("M104 262Q158 290 226 274", "#6d8ab4", 5.0))
            (stroke("M62 186A138 30 0 0 0 338 186", "#8fa3c4", 6.0))
        },
    )
}

pub(super) fn sea_lily_print() -> Markup {
    let crown = (200.0, 206.0);
    // The outer arms first, so that the middle ones lie over them.
    let arms = [-4, 4, -3, 3, -2, 2, -1, 1, 0].into_iter().map(|arm: i32| {
        let lean = f64::from(arm) / 4.0;
        let angle = -90.0 + 30.0 * lean;
        let end = (crown.0 + 64.0 * lean, crown.1 - 108.0 + 34.0 * lean * lean);
        let bend = (crown.0 + 44.0 * lean, crown.1 - 22.0 - 22.0 * (1.0 - lean.abs()));
        let on = |t: f64| {
            let mix = |a: f64, b: f64, c: f64| (1.0 - t).powi(2) * a + 2.0 * t * (1.0 - t) * b + t * t * c;
            (mix(crown.0, bend.0, end.0), mix(crown.1, bend.1, end.1))
        };
        let feathers: String = (3..11)
            .map(|step| {
                let t = f64::from(step) / 10.0;
                let length = 11.0 * (1.3 - t);
                let from = on(t);
                format!(
                    "M{}L{}L{}",
                    xy(polar(from, length, angle - 46.0)),
                    xy(from),
                    xy(polar(from, length, angle + 46.0))
                )
            })
            .collect();
        let colour = [colour::BLUSH, colour::CORAL, colour::SUN][arm.unsigned_abs() as usize % 3];
        (format!("M{}Q{} {}", xy(crown), xy(bend), xy(end)), feathers, colour)
    });
    canvas(
        400,
        400,
        html! {
            rect width="400" height="400" fill="#e9dfcb" {}
            rect x="92" y="44" width="232" height="320" rx="4" fill=(colour::INK) opacity="0.16" {}
            rect x="80" y="32" width="232" height="320" rx="4" fill=(colour::WOOD) {}
            path d="M80 352L94 338V46L80 32Z" fill="#744a32" {}
            path d="M80 352L94 338H298L312 352Z" fill="#67412b" {}
            rect x="94" y="46" width="204" height="292" fill=(colour::PEARL) {}
            g transform="translate(-4 -6)" {
                rect x="122" y="78" width="156" height="240" fill=(colour::DEEP) {}
                (shape("M122 296Q160 280 200 290T278 284V318H122Z", colour::SAND))
                (stroke("M194 300C208 270 190 244 200 210", colour::BLUSH, 7.0))
                path d="M194 300C208 270 190 244 200 210" fill="none" stroke=(colour::DEEP) stroke-width="8" stroke-dasharray="1.4 6" {}
                (stroke("M194 298L182 304M194 298L192 308M194 298L208 305", colour::BLUSH, 4.0))
                @for (arm, feathers, colour) in arms {
                    (stroke(&feathers, colour, 2.2))
                    (stroke(&arm, colour, 4.2))
                }
                (shape("M188 190Q200 197 212 190Q214 214 200 218Q186 214 188 190Z", colour::CORAL_DARK))
            }
        },
    )
}

pub(super) fn kelp_scarf() -> Markup {
    let fringe = |from: f64, bottom: f64, slope: f64| {
        (0..12).map(move |thread| {
            let x = from + f64::from(thread) * 8.4;
            let y = bottom + slope * f64::from(thread);
            format!("M{} {}v24", short(x), short(y))
        })
    };
    let printed = [colour::LEAF, colour::LEAF, colour::SUN];
    canvas(
        400,
        400,
        html! {
            rect width="400" height="400" fill="#dfe8d2" {}
            (shape("M216 100L320 100C328 170 312 220 322 288L222 300Z", "#c9d6b8"))
            @for thread in fringe(212.0, 276.0, -0.9) { (stroke(&thread, colour::KELP_DARK, 4.0)) }
            (shape("M190 66H300C308 140 296 210 308 268L208 280Z", colour::KELP_DARK))
            (shape("M297 222L299 240L205 252L204 234Z", colour::SEA))
            rect x="44" y="70" width="312" height="18" rx="9" fill=(colour::WOOD) {}
            rect x="44" y="70" width="312" height="7" rx="3.5" fill="#a97856" {}
            @for thread in fringe(98.0, 328.0, 0.9) { (stroke(&thread, colour::KELP, 4.0)) }
            (shape("M112 78Q112 58 134 58H282Q300 58 300 78L214 84C206 160 214 260 198 342L92 332C104 240 100 160 112 78Z", colour::KELP))
            (shape("M112 78Q112 58 134 58H282Q300 58 300 78L214 84Q212 70 190 70H134Q116 70 112 78Z", "#4e916d"))
            (kelp((150.0, 268.0), 168.0, 9.0, printed))
            (shape("M97 286L204 297L202 311L95 300Z", colour::SUN))
            (shape("M95 308L201 319L200 326L94 315Z", colour::PEARL))
        },
    )
}
