//! One line per command in a file on the node, because runtimes drop a plugin's stderr.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends a line; a log that cannot be written must not fail a pod.
pub(crate) fn line(file: Option<&Path>, text: &str) {
    let Some(path) = file else { return };
    let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) else {
        return;
    };
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // Names come from CNI_ARGS: no line breaks of theirs in our file.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let _ = file.write_all(format!("{seconds} {text}\n").as_bytes());
}
