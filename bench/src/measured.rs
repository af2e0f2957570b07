//! How cells are measured: again and again, a while each.

use std::time::Duration;

/// How often, and how long each time.
#[derive(clap::Args)]
pub struct Measured {
    /// How often each cell is measured
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How long each cell is measured
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

impl Measured {
    /// How long each cell is measured.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}
