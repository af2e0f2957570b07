//! Bars as SVG: readable in light and in dark, without a script or a font of its own.

use std::fmt::Write as _;

use super::samples::Spread;

const WIDTH: f64 = 760.0;
/// Where the bars begin; their names stand before.
const LEFT: f64 = 232.0;
/// What the numbers behind the bars need.
const RIGHT: f64 = 150.0;
const ROW: f64 = 22.0;
const BAR: f64 = 13.0;

/// Both palettes keep text, bars and whiskers apart for people who see no red or no green.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}\
.panel{font-weight:600}.value{font-size:12px}.note{font-size:12px;fill:#59636e}.axis{stroke:#d1d9e0}\
.whisker{stroke:#1f2328;stroke-width:1.5}.aim{stroke:#bc4c00;stroke-width:2;stroke-dasharray:3 2}\
.ours{fill:#0969da}.hand{fill:#8c959f}.peer{fill:#d4a72c}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.note{fill:#9198a1}.axis{stroke:#3d444d}\
.whisker{stroke:#f0f6fc}.aim{stroke:#f0883e}.ours{fill:#4493f8}.hand{fill:#6e7681}.peer{fill:#bb8009}}";

/// Several panels below each other.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// What the length of a bar is.
    pub(crate) unit: String,
    pub(crate) panels: Vec<Panel>,
}

/// Bars on one scale of their own.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

/// One bar, with a whisker from the lowest to the highest round.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) spread: Spread,
    /// How long it wants to be.
    pub(crate) aim: Option<f64>,
}

impl Chart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let mut y = 24.0;
        // Writing into a String cannot fail, here and below.
        let _ = write!(body, "<text class=\"title\" x=\"12\" y=\"{y}\">{}</text>", escaped(&self.title));
        y += 20.0;
        let _ = write!(body, "<text class=\"note\" x=\"12\" y=\"{y}\">{}</text>", escaped(&self.unit));
        y = legend(&mut body, y + 20.0, self.panels.iter().any(|panel| panel.aims().next().is_some()));
        for panel in &self.panels {
            y = panel.draw(&mut body, y + 14.0);
        }
        let height = y + 8.0;
        let label = escaped(&format!("{}: {}", self.title, self.unit));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{label}\"><style>{STYLE}</style>{body}</svg>\n"
        )
    }
}

fn legend(body: &mut String, y: f64, aim: bool) -> f64 {
    let mut x = 12.0;
    for (class, name) in [("ours", "sessile"), ("hand", "by hand, no library"), ("peer", "other libraries")] {
        let _ = write!(
            body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\"/>\
             <text class=\"note\" x=\"{}\" y=\"{y}\">{name}</text>",
            y - 10.0,
            x + 17.0
        );
        x += 42.0 + 7.0 * name.len() as f64;
    }
    if aim {
        let _ = write!(
            body,
            "<line class=\"aim\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>\
             <text class=\"note\" x=\"{}\" y=\"{y}\">sessile's aim</text>",
            y - 11.0,
            y + 2.0,
            x + 7.0
        );
    }
    y + 6.0
}

impl Panel {
    fn aims(&self) -> impl Iterator<Item = f64> {
        self.bars.iter().filter_map(|bar| bar.aim)
    }

    fn draw(&self, body: &mut String, top: f64) -> f64 {
        let highest = self.bars.iter().map(|bar| bar.spread.high).chain(self.aims()).fold(0.0, f64::max);
        let scale = (WIDTH - LEFT - RIGHT) / if highest > 0.0 { highest } else { 1.0 };
        let _ = write!(
            body,
            "<text class=\"panel\" x=\"12\" y=\"{}\">{}</text>",
            top + 12.0,
            escaped(&self.title)
        );
        let first = top + 20.0;
        for (at, bar) in self.bars.iter().enumerate() {
            bar.draw(body, first + ROW * at as f64, scale);
        }
        let end = first + ROW * self.bars.len() as f64;
        let _ =
            write!(body, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{first}\" y2=\"{end}\"/>");
        end
    }
}

impl Bar {
    fn draw(&self, body: &mut String, top: f64, scale: f64) {
        let Spread { median, low, high } = self.spread;
        let class = match self.name.split('-').next() {
            Some("sessile") => "ours",
            Some("hand" | "bare") => "hand",
            _ => "peer",
        };
        let middle = top + ROW / 2.0;
        let [from, to] = [low, high].map(|value| LEFT + value * scale);
        let _ = write!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\"/>\
             <line class=\"whisker\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            LEFT - 8.0,
            middle + 4.5,
            escaped(&self.name),
            middle - BAR / 2.0,
            (median * scale).max(0.5)
        );
        for x in [from, to] {
            let _ = write!(
                body,
                "<line class=\"whisker\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>",
                middle - 3.5,
                middle + 3.5
            );
        }
        if let Some(aim) = self.aim {
            let x = LEFT + aim * scale;
            let _ = write!(
                body,
                "<line class=\"aim\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{}\"/>",
                top + ROW
            );
        }
        // In a column of their own, where no line crosses them.
        let _ = write!(
            body,
            "<text class=\"value\" x=\"{}\" y=\"{}\">{median:.3} ({low:.3}–{high:.3})</text>",
            WIDTH - RIGHT + 10.0,
            middle + 4.5
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let bar = |name: &str, median, low, high, aim| Bar {
            name: name.to_owned(),
            spread: Spread { median, low, high },
            aim,
        };
        Chart {
            title: "PostgreSQL <15>".to_owned(),
            unit: "requests/s, bare axum = 1".to_owned(),
            panels: vec![Panel {
                title: "read".to_owned(),
                bars: vec![
                    bar("sessile-postgres", 0.5, 0.4, 0.6, Some(0.52)),
                    bar("tower-sessions-postgres", 0.1, 0.1, 0.1, None),
                ],
            }],
        }
    }

    #[test]
    fn a_chart_names_every_bar_and_says_its_numbers() {
        let svg = chart().svg();
        assert!(svg.contains("PostgreSQL &lt;15&gt;"), "{svg}");
        assert!(svg.contains(">0.500 (0.400–0.600)<") && svg.contains(">sessile-postgres<"), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("role=\"img\""), "{svg}");
        assert_eq!(svg.matches("class=\"whisker\"").count(), 6);
        // One in the legend, one at the bar that has one.
        assert_eq!(svg.matches("class=\"aim\"").count(), 2);
    }

    #[test]
    fn the_longest_whisker_ends_where_the_numbers_begin() {
        let svg = chart().svg();
        let end = WIDTH - RIGHT;
        assert!(svg.contains(&format!("x2=\"{end:.1}\"")), "{svg}");
    }

    #[test]
    fn a_panel_without_a_bar_is_drawn_all_the_same() {
        let empty = Panel { title: "read".to_owned(), bars: Vec::new() };
        let svg = Chart { panels: vec![empty], ..chart() }.svg();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
