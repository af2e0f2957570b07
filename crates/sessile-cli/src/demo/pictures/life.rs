//! What lives in the pictures: drawn once each, wherever it has settled.

use maud::{Markup, html};

use super::draw::{Dice, Point, colour, dot, polar, polygon, shape, short, stroke, xy};

/// A barnacle from above: six plates round an angular opening, and in it the closed lid with its crooked slit.
pub(super) fn barnacle(centre: Point, radius: f64, turn: f64) -> Markup {
    let corner = |share: f64, angle: f64| polar(centre, radius * share, turn + angle);
    let plates =
        [colour::PEARL, colour::SHELL, "#f3e6d0"].into_iter().cycle().zip(0_u32..6).map(|(fill, side)| {
            let from = f64::from(side) * 60.0 + 4.0;
            let (middle, to) = (from + 26.0, from + 52.0);
            let outline = [(0.46, from), (0.96, from), (1.06, middle), (0.96, to), (0.46, to)];
            (polygon(&outline.map(|(share, angle)| corner(share, angle))), fill)
        });
    let opening = polygon(&[30.0, 90.0, 150.0, 210.0, 270.0, 330.0].map(|angle| corner(0.5, angle)));
    let lid = polygon(
        &[(0.44, 30.0), (0.24, 110.0), (0.44, 210.0), (0.24, 310.0)].map(|(share, at)| corner(share, at)),
    );
    let slit =
        [(0.4, 30.0), (0.08, 100.0), (0.08, 310.0), (0.4, 210.0)].map(|(share, at)| xy(corner(share, at)));
    html! {
        (dot(centre, radius, "#b39f86"))
        @for (outline, fill) in plates { (shape(&outline, fill)) }
        (shape(&opening, "#4c3f48"))
        (shape(&lid, "#c9b9b4"))
        (stroke(&format!("M{}L{}L{}L{}", slit[0], slit[1], slit[2], slit[3]), "#4c3f48", radius * 0.06))
    }
}

/// A branching coral that grows upwards from a point.
pub(super) struct Coral {
    pub(super) seed: u32,
    pub(super) foot: Point,
    pub(super) length: f64,
    pub(super) width: f64,
    pub(super) forks: u32,
    pub(super) colour: &'static str,
    pub(super) tips: &'static str,
}

impl Coral {
    pub(super) fn draw(&self) -> Markup {
        let mut branches = Vec::new();
        let mut dice = Dice::new(self.seed);
        self.grow(self.foot, -90.0, 0, &mut dice, &mut branches);
        html! {
            @for (path, width, _) in &branches { (stroke(path, self.colour, *width)) }
            @for (_, width, tip) in &branches { @if let Some(tip) = tip { (dot(*tip, width * 0.36, self.tips)) } }
        }
    }

    fn grow(
        &self,
        from: Point,
        angle: f64,
        fork: u32,
        dice: &mut Dice,
        branches: &mut Vec<(String, f64, Option<Point>)>,
    ) {
        let thinner = 0.76_f64.powf(f64::from(fork));
        let length = self.length * thinner * dice.between(0.85, 1.15);
        let to = polar(from, length, angle);
        let bend = polar(polar(from, length * 0.5, angle), length * dice.between(-0.16, 0.16), angle + 90.0);
        let tip = (fork == self.forks).then_some(to);
        branches.push((format!("M{}Q{} {}", xy(from), xy(bend), xy(to)), self.width * thinner, tip));
        if fork < self.forks {
            let spread = dice.between(24.0, 34.0);
            self.grow(to, angle - spread, fork + 1, dice, branches);
            self.grow(to, angle + dice.between(18.0, 34.0), fork + 1, dice, branches);
        }
    }
}

/// An anemone from above: three rings of arms, the innermost on top, round a disc with a mouth.
pub(super) fn anemone(centre: Point, radius: f64, seed: u32) -> Markup {
    let mut dice = Dice::new(seed);
    let rings = [
        (24_u32, 1.0, 0.13, colour::CORAL_DARK, colour::CORAL),
        (18, 0.78, 0.13, colour::CORAL, colour::BLUSH),
        (12, 0.54, 0.12, colour::BLUSH, colour::PEARL),
    ];
    html! {
        @for (arms, reach, width, arm, tip) in rings {
            @for number in 0..arms {
                @let angle = 360.0 / f64::from(arms) * f64::from(number) + dice.between(-4.0, 4.0);
                @let end = polar(centre, radius * reach * dice.between(0.86, 1.04), angle);
                @let bend = polar(centre, radius * reach * 0.6, angle + dice.between(-12.0, 12.0));
                (stroke(&format!("M{}Q{} {}", xy(polar(centre, radius * 0.2, angle)), xy(bend), xy(end)), arm, radius * width))
                (dot(end, radius * width * 0.42, tip))
            }
        }
        (dot(centre, radius * 0.27, colour::SUN))
        ellipse cx=(short(centre.0)) cy=(short(centre.1)) rx=(short(radius * 0.12)) ry=(short(radius * 0.05)) fill=(colour::CORAL_DARK) {}
    }
}

/// An anemone from the side: a column with a crown of arms.
pub(super) fn standing_anemone((x, y): Point, size: f64, seed: u32) -> Markup {
    let mut dice = Dice::new(seed);
    let top = (x, y - size * 0.62);
    html! {
        @for (arms, colour) in [(9_u32, colour::CORAL_DARK), (8, colour::BLUSH)] {
            @for number in 0..arms {
                @let angle = -168.0 + 156.0 / f64::from(arms - 1) * f64::from(number) + dice.between(-4.0, 4.0);
                @let end = polar(top, size * dice.between(0.5, 0.64), angle);
                @let bend = polar(top, size * 0.42, angle + dice.between(-24.0, 24.0));
                (stroke(&format!("M{}Q{} {}", xy(top), xy(bend), xy(end)), colour, size * 0.1))
            }
        }
        (shape(&format!(
            "M{}L{}C{} {} {}L{}Q{} {}Z",
            xy((x - size * 0.3, y - size * 0.66)), xy((x - size * 0.22, y - size * 0.3)),
            xy((x - size * 0.22, y - size * 0.1)), xy((x - size * 0.34, y)), xy((x - size * 0.36, y)),
            xy((x + size * 0.36, y)), xy((x + size * 0.16, y - size * 0.1)), xy((x + size * 0.3, y - size * 0.66)),
        ), colour::CORAL))
        ellipse cx=(short(x)) cy=(short(y - size * 0.66)) rx=(short(size * 0.3)) ry=(short(size * 0.1)) fill=(colour::SUN) {}
    }
}

/// A stalk of kelp that sways: blades to both sides, each with its float.
pub(super) fn kelp((x, y): Point, height: f64, sway: f64, [stalk, blade, float]: [&str; 3]) -> Markup {
    let steps = (height / 30.0).round().max(2.0);
    let at = |share: f64| (x + sway * (share * 5.0).sin() * share, y - height * share);
    let mut spine = format!("M{}", xy(at(0.0)));
    let mut blades = Vec::new();
    let mut side = 1.0;
    let mut step = 1.0;
    while step <= steps {
        let share = step / steps;
        spine += &format!("L{}", xy(at(share - 0.5 / steps)));
        spine += &format!("L{}", xy(at(share)));
        let root = at(share);
        let length = height * (0.3 - 0.14 * share).min(60.0 / height);
        let tip = (root.0 + side * length, root.1 - length * 0.55);
        let over = (root.0 + side * length * 0.5, root.1 - length * 0.75);
        let under = (root.0 + side * length * 0.7, root.1 + length * 0.05);
        blades.push((
            format!("M{}Q{} {}Q{} {}Z", xy(root), xy(over), xy(tip), xy(under), xy(root)),
            root,
            side,
        ));
        side = -side;
        step += 1.0;
    }
    html! {
        (stroke(&spine, stalk, 5.0))
        @for (outline, root, side) in &blades {
            (shape(outline, blade))
            (dot((root.0 + side * 5.0, root.1 - 2.0), 4.2, float))
        }
    }
}

/// A tube sponge with an open top and pores all over.
pub(super) fn sponge((x, y): Point, width: f64, height: f64, [body, dark]: [&str; 2], seed: u32) -> Markup {
    let mut dice = Dice::new(seed);
    let (half, lip) = (width / 2.0, width * 0.17);
    let outline = format!(
        "M{}C{} {} {}Q{} {}Q{} {}C{} {} {}Z",
        xy((x - half, y - height)),
        xy((x - half * 0.8, y - height * 0.6)),
        xy((x - half * 1.05, y - height * 0.35)),
        xy((x - half * 0.82, y - lip)),
        xy((x - half * 0.8, y)),
        xy((x, y)),
        xy((x + half * 0.8, y)),
        xy((x + half * 0.82, y - lip)),
        xy((x + half * 1.05, y - height * 0.35)),
        xy((x + half * 0.8, y - height * 0.6)),
        xy((x + half, y - height)),
    );
    let rows = ((height - width * 0.5) / (width * 0.3)).floor();
    let mut pores = Vec::new();
    let mut row = 0.0;
    while row < rows {
        for column in [-0.52, 0.0, 0.52] {
            let centre = (
                x + half * (column + dice.between(-0.13, 0.13)),
                y - width * 0.26 - row * width * 0.3 - dice.between(0.0, width * 0.14),
            );
            pores.push((centre, width * dice.between(0.035, 0.065)));
        }
        row += 1.0;
    }
    html! {
        (shape(&outline, body))
        @for (centre, radius) in pores {
            ellipse cx=(short(centre.0)) cy=(short(centre.1)) rx=(short(radius * 0.85)) ry=(short(radius)) fill=(dark) opacity="0.6" {}
        }
        ellipse cx=(short(x)) cy=(short(y - height)) rx=(short(half)) ry=(short(lip)) fill=(body) {}
        ellipse cx=(short(x)) cy=(short(y - height)) rx=(short(half)) ry=(short(lip)) fill=(colour::PEARL) opacity="0.28" {}
        ellipse cx=(short(x)) cy=(short(y - height + lip * 0.12)) rx=(short(half * 0.66)) ry=(short(lip * 0.66)) fill=(dark) {}
    }
}

/// A closed mussel that stands on its pointed end, turned by so many degrees.
pub(super) fn mussel((x, y): Point, length: f64, turn: f64) -> Markup {
    let scale = short(length / 12.0) / 10.0;
    html! {
        g transform={ "translate(" (short(x)) " " (short(y)) ") rotate(" (short(turn)) ") scale(" (scale) ")" } {
            (shape("M0 0C26 -18 44 -66 20 -106C8 -124 -16 -124 -28 -106C-48 -66 -26 -16 0 0Z", colour::SLATE_DARK))
            (shape("M0 0C-12 -30 -24 -76 -18 -114C-24 -112 -26 -110 -28 -106C-48 -66 -26 -16 0 0Z", "#1c2c42"))
            (stroke("M-9 -26C-2 -34 10 -34 16 -28", "#5673a0", 3.5))
            (stroke("M-14 -52C-4 -62 16 -62 26 -52", "#5673a0", 3.5))
            (stroke("M-17 -80C-4 -92 18 -92 28 -80", "#5673a0", 3.5))
        }
    }
}
