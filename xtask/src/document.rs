//! Sections of a document that a task writes; what is around them is written by hand.

use std::fs;
use std::path::Path;

use crate::problem::Problem;

/// Puts `text` between the two marks, each of which is a line of the document.
pub(crate) fn keep(text: &str, marks: &Marks, document: &Path) -> Result<(), Problem> {
    let whole = fs::read_to_string(document).map_err(|cause| Problem::file("read", document, &cause))?;
    let whole = marks.replaced(&whole, text).ok_or_else(|| {
        Problem::new(format!(
            "{} must hold `{}`, and `{}` after it",
            document.display(),
            marks.begin,
            marks.end
        ))
    })?;
    fs::write(document, whole).map_err(|cause| Problem::file("write", document, &cause))
}

/// Where a section begins and ends.
pub(crate) struct Marks {
    begin: String,
    end: String,
}

impl Marks {
    /// Those of what this command line writes: `cargo xtask conformance --write`.
    pub(crate) fn of(command: &str) -> Self {
        Self { begin: format!("<!-- {command}: begin -->"), end: format!("<!-- {command}: end -->") }
    }

    /// The document with this text in its section; `None` when it does not have the section.
    fn replaced(&self, whole: &str, text: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = whole.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n{text}{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let marks = Marks::of("cargo xtask report --write");
        let Marks { begin, end } = &marks;
        let text = format!("by hand\n{begin}\nold\n{end}\nby hand, too\n");
        let once = marks.replaced(&text, "new\n").unwrap();
        assert_eq!(once, format!("by hand\n{begin}\nnew\n{end}\nby hand, too\n"));
        assert_eq!(marks.replaced(&once, "new\n").unwrap(), once);
        assert_eq!(marks.replaced("no marks", "new\n"), None);
        assert_eq!(marks.replaced(&format!("{end}{begin}"), "new\n"), None);
    }
}
