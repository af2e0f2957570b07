//! Makes the mutants: the batcher's own source with one line changed each, so that the tests can show that
//! they would notice.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

const STORE: &str = "../../crates/sessile/src/store";

/// Name, file, what stands there, what the mutant has instead.
const MUTANTS: [(&str, &str, &str, &str); 11] = [
    ("wakes_nobody", "queue.rs", "wakers.extend(slot.waker.take());\n", "drop(slot.waker.take());\n"),
    (
        "mixes_answers_up",
        "queue.rs",
        "batch.firsts.drain(..) {\n            let answer",
        "batch.firsts.drain(..).rev() {\n            let answer",
    ),
    (
        "forgets_that_a_lane_ended",
        "queue.rs",
        "state.lanes -= 1;\n            return Turn::Ended;",
        "return Turn::Ended;",
    ),
    // Between the two locks somebody may come who relies on the lane.
    (
        "ends_a_lane_in_two_steps",
        "queue.rs",
        "state.lanes -= 1;\n            return Turn::Ended;",
        "drop(state); self.state.lock().lanes -= 1; return Turn::Ended;",
    ),
    (
        "starts_no_lane_for_the_lost",
        "queue.rs",
        "let starts_lane = state.lanes == 0;",
        "let starts_lane = false;",
    ),
    ("drops_accepted_writes", "queue.rs", "(0, true) if !W::KEEPS || self.lanes == 0 =>", "(0, true) =>"),
    ("counts_no_joiners", "queue.rs", "waiting.callers += 1;", ""),
    (
        "joins_what_has_left",
        "queue.rs",
        "if let Some(key) = W::key(&job) {\n                state.keys.remove(&key);\n            }\n            batch",
        "batch",
    ),
    (
        "refuses_what_it_does",
        "queue.rs",
        "if state.outside.get_mut(number).is_none() {\n            return false;\n        }",
        "",
    ),
    ("has_no_bound", "queue.rs", "state.inside.len() < self.bounds.room;", "true;"),
    ("lets_nobody_in", "queue.rs", "state.let_in(&self.bounds);\n        if batch.jobs", "if batch.jobs"),
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed={STORE}/group");
    println!("cargo::rerun-if-changed={STORE}/line.rs");
    let line = plain(&fs::read_to_string(Path::new(STORE).join("line.rs"))?);
    let mut all = String::new();
    for (name, file, before, after) in MUTANTS {
        let read = |of: &str| -> Result<String, Box<dyn error::Error>> {
            let path = Path::new(STORE).join("group").join(of);
            let source = fs::read_to_string(&path)?;
            if of != file {
                return Ok(source);
            }
            match source.matches(before).count() {
                1 => Ok(source.replace(before, after)),
                found => Err(format!("{name}: {found} places in {} to change, not 1", path.display()).into()),
            }
        };
        let mut group = read("mod.rs")?;
        for part in ["queue", "tickets"] {
            let inner = read(&format!("{part}.rs"))?;
            group =
                group.replace(&format!("mod {part};\n"), &format!("mod {part} {{\n{}\n}}\n", plain(&inner)));
        }
        let folder = env::var("CARGO_MANIFEST_DIR")?;
        all += &format!(
            "pub mod {name} {{\n\
             mod store {{\n\
             pub(crate) mod ground {{ include!(\"{folder}/src/ground.rs\"); }}\n\
             mod line {{\n{line}\n}}\n\
             pub(crate) mod group {{\n{}\n}}\n\
             }}\n\
             pub mod scenarios {{ include!(\"{folder}/src/scenarios.rs\"); }}\n\
             }}\n",
            plain(&group)
        );
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("mutants.rs"), all)?;
    Ok(())
}

/// Without what may stand only at the head of a file, and without the file's own tests.
fn plain(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    source.lines().filter(|line| !line.starts_with("//!")).flat_map(|line| [line, "\n"]).collect()
}
