//! An error with everything that caused it, as one line for logs, statuses and refusals.

use std::error::Error;
use std::fmt::Write;

/// `outermost: its cause: the cause of that`.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[test]
    fn every_cause_is_told_once() {
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(inner);
        assert_eq!(causes(&outer), "disk full");
        assert_eq!(
            causes(&crate::env::Mistakes(Vec::new())),
            crate::env::Mistakes(Vec::new()).to_string()
        );
    }
}
