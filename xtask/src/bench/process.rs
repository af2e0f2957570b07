//! The benchmark in process: divan's tree as a table.

/// Each subject beside what it is measured against, as Markdown.
pub(super) fn table(tree: &str) -> String {
    let mut table = String::from(
        "| in process | subject | of | time, median (fastest) | ratio of medians (of the fastest) |\n\
         |---|---|---|---|---|\n",
    );
    for row in ratios(&benches(tree)) {
        table.push_str(&row);
    }
    table
}

/// One line of divan's: which group, which subject, and its times in nanoseconds.
struct Bench<'a> {
    group: &'a str,
    subject: &'a str,
    fastest: f64,
    median: f64,
}

/// Reads divan's tree: `├─ group`, and below it `│  ├─ subject  fastest │ slowest │ median │ …`.
fn benches(tree: &str) -> Vec<Bench<'_>> {
    let mut group = "";
    let mut benches = Vec::new();
    for line in tree.lines() {
        let Some((_, text)) = line.split_once("─ ") else { continue };
        let (name, times) = text.split_once(' ').unwrap_or((text, ""));
        let times: Vec<Option<f64>> = times.split('│').map(nanoseconds).collect();
        match times[..] {
            [Some(fastest), _, Some(median), ..] => {
                benches.push(Bench { group, subject: name, fastest, median });
            }
            _ => group = name,
        }
    }
    benches
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let scale = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// Each subject beside the one it is measured against: the hand-written store that synchronises as it
/// does, or else bare axum.
fn ratios(benches: &[Bench<'_>]) -> Vec<String> {
    let other = |bench: &Bench<'_>, name: &str| {
        benches.iter().find(|other| other.group == bench.group && other.subject == name)
    };
    let row = |bench: &Bench<'_>| {
        let by_hand =
            bench.subject.replace("sessile-memory", "hand-sqlite-normal").replace("sessile-", "hand-");
        let of = other(bench, &by_hand).filter(|of| of.subject != bench.subject);
        let of = of.or_else(|| other(bench, "bare"))?;
        (of.subject != bench.subject).then(|| {
            format!(
                "| {} | {} | {} | {:.2} µs ({:.2}) | {:.2} ({:.2}) |\n",
                bench.group.replace('_', " "),
                bench.subject,
                of.subject,
                bench.median / 1e3,
                bench.fastest / 1e3,
                bench.median / of.median,
                bench.fastest / of.fastest
            )
        })
    };
    benches.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_stands_beside_its_bound() {
        let tree = "\
Timer precision: 20 ns
requests              fastest       │ slowest  │ median   │ mean     │ samples │ iters
├─ read                             │          │          │          │         │
│  ├─ hand-sqlite-normal  2 µs          │ 9 µs     │ 4 µs     │ 5 µs     │ 300     │ 60000
│  │                  211.6 Kitem/s │ 150 item/s │ 205.8 Kitem/s │ 203 Kitem/s │ │
│  ╰─ sessile-sqlite-normal  3 µs          │ 16.04 µs │ 5000 ns  │ 8.604 µs │ 300     │ 60000
╰─ untouched_request                │          │          │          │         │
   ├─ bare            400.0 ns      │ 63.65 µs │ 400.0 ns │ 1.386 µs │ 300     │ 150000
   ├─ bare-layer      500.0 ns      │ 63.65 µs │ 480.0 ns │ 1.386 µs │ 300     │ 150000
   ╰─ sessile-sqlite-normal  600.0 ns      │ 67.3 µs  │ 800.0 ns │ 2.19 µs  │ 300     │ 150000
";
        let table = table(tree);
        let rows: Vec<&str> =
            table.lines().filter(|line| line.contains("sessile") || line.contains("bare-layer")).collect();
        assert_eq!(
            rows,
            [
                "| read | sessile-sqlite-normal | hand-sqlite-normal | 5.00 µs (3.00) | 1.25 (1.50) |",
                "| untouched request | bare-layer | bare | 0.48 µs (0.50) | 1.20 (1.25) |",
                "| untouched request | sessile-sqlite-normal | bare | 0.80 µs (0.60) | 2.00 (1.50) |",
            ]
        );
    }
}
