//! How far a long command has got, on a terminal only.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// `purging ██░░ 12/60, 3 s left`; hidden where nobody would see it, and then `total` is not asked for: to
/// count reads the whole table.
pub(crate) async fn bar<E>(
    doing: &'static str,
    total: impl Future<Output = Result<u64, E>>,
) -> Result<ProgressBar, E> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(total.await?).with_message(doing);
    // The template is a constant; were it wrong, the bar would look as indicatif's own.
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len}, {eta} left") {
        bar.set_style(style);
    }
    Ok(bar)
}
