//! The processor time of processes.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What each thread had used up at one moment. The kernel counts nanoseconds per thread, but only hundredths
/// of a second per process.
pub struct Used(HashMap<u32, u64>);

impl Used {
    /// Of these processes and all they started.
    pub fn by(roots: &[u32]) -> Used {
        let mut used = HashMap::new();
        for process in with_children(roots) {
            let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in threads {
                let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
                let counted = fs::read_to_string(thread.path().join("schedstat")).ok();
                let nanoseconds = counted.and_then(|text| text.split(' ').next()?.parse().ok());
                if let (Some(number), Some(nanoseconds)) = (number, nanoseconds) {
                    used.insert(number, nanoseconds);
                }
            }
        }
        Used(used)
    }

    /// Since an earlier moment. What ended meanwhile is left out.
    pub fn since(&self, earlier: &Used) -> Duration {
        let used = |(thread, now): (&u32, &u64)| now.saturating_sub(*earlier.0.get(thread).unwrap_or(&0));
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

fn with_children(roots: &[u32]) -> Vec<u32> {
    if roots.is_empty() {
        return Vec::new();
    }
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut left = roots.to_vec();
    while let Some(process) = left.pop() {
        found.push(process);
        left.extend(children.remove(&process).unwrap_or_default());
    }
    found
}

fn parent(process: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it is in brackets and may hold anything.
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
