//! The larger pictures: the sea floor on the first page, and the shell of pages that have nothing to show.

use maud::{Markup, html};

use super::draw::{Dice, canvas, colour, dot, shape, short, stroke};
use super::life::{Coral, barnacle, kelp, mussel, sponge, standing_anemone};

/// The sea floor, 720 by 400; what matters stands in the middle, for narrow screens.
pub(super) fn sea_floor() -> Markup {
    canvas(
        720,
        400,
        html! {
            (water())
            (far_kelp())
            (shape("M0 352C90 322 170 338 260 346C380 356 470 330 560 336C630 340 680 352 720 344V400H0Z", colour::SAND))
            (rock())
            (settlers())
            (shape("M0 384C120 368 240 388 360 380C500 370 600 390 720 378V400H0Z", "#f4e4c1"))
        },
    )
}

fn water() -> Markup {
    let mut dice = Dice::new(17);
    html! {
        rect width="720" height="400" fill="#bfe0da" {}
        (shape("M0 70C120 40 220 92 360 70S600 44 720 76V400H0Z", "#a3d0cb"))
        (shape("M0 150C140 118 250 172 380 148S610 124 720 156V400H0Z", "#84bdbb"))
        (shape("M0 236C150 206 270 256 400 232S620 212 720 240V400H0Z", "#62a5a7"))
        @for ray in ["M150 0H206L120 400H10Z", "M330 0H362L340 400H270Z", "M520 0H590L640 400H540Z"] {
            path d=(ray) fill=(colour::PEARL) opacity="0.12" {}
        }
        @for _ in 0..16 {
            circle cx=(short(dice.between(20.0, 700.0))) cy=(short(dice.between(20.0, 300.0))) r=(short(dice.between(2.0, 6.0)))
                fill="none" stroke=(colour::PEARL) stroke-width="1.6" opacity="0.7" {}
        }
        @for (x, y, scale) in [(470, 74, 1.0), (512, 98, 0.8), (448, 112, 0.7)] {
            g transform={ "translate(" (x) " " (y) ") scale(" (scale) ")" } {
                (shape("M0 0C12 -13 32 -13 42 0L56 -10V10L42 0C32 13 12 13 0 0Z", colour::DEEP))
                (dot((11.0, -2.0), 2.2, colour::PEARL))
            }
        }
    }
}

fn far_kelp() -> Markup {
    let far = ["#4b9092", "#4b9092", "#5b9fa0"];
    html! {
        @for (x, height, sway) in [(40.0, 280.0, 16.0), (92.0, 220.0, -12.0), (618.0, 250.0, -14.0), (672.0, 310.0, 16.0)] {
            (kelp((x, 360.0), height, sway, far))
        }
    }
}

fn rock() -> Markup {
    let barnacles = [
        ((330.0, 236.0), 26.0, 0.0),
        ((378.0, 222.0), 19.0, 20.0),
        ((366.0, 262.0), 22.0, 44.0),
        ((414.0, 252.0), 27.0, 10.0),
        ((302.0, 272.0), 16.0, 30.0),
        ((336.0, 290.0), 18.0, 12.0),
        ((446.0, 286.0), 17.0, 50.0),
        ((396.0, 298.0), 14.0, 0.0),
    ];
    html! {
        (shape("M208 396C218 306 250 300 276 262C296 214 336 186 384 192C430 190 452 222 470 254C500 288 524 310 534 396Z", "#2b4c5b"))
        (shape("M384 192C430 190 452 222 470 254C500 288 524 310 534 396H416C444 330 440 240 384 192Z", "#1f3b49"))
        @for (centre, radius, turn) in barnacles { (barnacle(centre, radius, turn)) }
        (mussel((262.0, 344.0), 54.0, -26.0))
        (mussel((288.0, 350.0), 60.0, 6.0))
        (mussel((312.0, 350.0), 48.0, 30.0))
    }
}

fn settlers() -> Markup {
    let coral = Coral {
        seed: 4,
        foot: (566.0, 366.0),
        length: 46.0,
        width: 15.0,
        forks: 4,
        colour: colour::CORAL,
        tips: colour::BLUSH,
    };
    let near = [colour::KELP_DARK, colour::KELP, colour::LEAF];
    html! {
        (coral.draw())
        (sponge((158.0, 374.0), 56.0, 142.0, [colour::SUN, "#b9812a"], 6))
        (sponge((112.0, 378.0), 46.0, 92.0, [colour::PLUM, colour::PLUM_DARK], 9))
        (sponge((200.0, 380.0), 40.0, 66.0, [colour::PLUM, colour::PLUM_DARK], 14))
        (standing_anemone((478.0, 372.0), 66.0, 2))
        (standing_anemone((426.0, 380.0), 44.0, 7))
        (kelp((236.0, 384.0), 210.0, 12.0, near))
        (kelp((648.0, 384.0), 190.0, -12.0, near))
        (stroke("M24 388C30 372 22 362 30 350M34 388C42 376 36 366 46 356", colour::KELP, 5.0))
    }
}

/// A scallop shell that lies open and has nothing in it, 220 by 160, without a background.
pub(super) fn empty_shell() -> Markup {
    let ribs = (0..7).map(|rib| {
        let x = 32.0 + f64::from(rib) * 26.0;
        let y = 46.0 - 26.0 * (1.0 - ((x - 110.0) / 84.0).powi(2));
        format!("M110 132L{} {}", short(x), short(y))
    });
    html! {
        (canvas(220, 160, html! {
            ellipse cx="110" cy="146" rx="86" ry="9" fill=(colour::INK) opacity="0.16" {}
            (shape("M110 138C70 124 22 92 22 56Q24 40 40 44Q46 22 66 28Q76 10 96 18Q110 6 124 18Q144 10 154 28Q174 22 180 44Q196 40 198 56C198 92 150 124 110 138Z", colour::BLUSH))
            @for rib in ribs { (stroke(&rib, "#e58f74", 4.0)) }
            (shape("M82 128L138 128L146 146Q110 154 74 146Z", "#e58f74"))
            (dot((172.0, 132.0), 8.0, colour::SHALLOW))
            (dot((190.0, 140.0), 4.5, colour::SHALLOW))
        }))
    }
}
