//! `ambit-cni`: started by the container runtime for every pod.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut stdin = Vec::new();
    let read = std::io::stdin()
        .lock()
        .take(MAX_INPUT)
        .read_to_end(&mut stdin);
    let lookup = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let finished = match read {
        Ok(_) => ambit_cni::run(&lookup, &stdin),
        Err(error) => {
            ambit_cni::CniError::new(ambit_cni::Code::Io, "cannot read stdin", error).into()
        }
    };
    let written = std::io::stdout().lock().write_all(&finished.stdout);
    if finished.success && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Longest network configuration read, in bytes.
const MAX_INPUT: u64 = 1 << 20;
