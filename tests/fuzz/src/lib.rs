//! Fuzzing on the stable toolchain: every parser that takes bytes from outside must be total.
//! In: seeds checked in below `seeds/<target>/` and random bytes. Out: at least [`INPUTS`] runs of the target
//! on mutated seeds and on raw bytes; a panic fails the test with the shrunk input.
//! Under `cargo bolero test` the same targets run coverage-guided.
#![forbid(unsafe_code)]

use std::path::Path;

/// Inputs each target is given.
pub const INPUTS: usize = 20_000;
/// Longest input, in bytes.
const LONGEST: usize = 1 << 16;

/// Declares a test that runs a target on [`INPUTS`] inputs.
#[macro_export]
macro_rules! fuzz {
    ($name:ident, $target:expr) => {
        #[test]
        fn $name() {
            let seeds = $crate::seeds(stringify!($name));
            let runs = std::sync::atomic::AtomicUsize::new(0);
            let target: fn(&[u8]) = $target;
            for seed in &seeds {
                target(seed);
            }
            bolero::check!()
                .with_iterations($crate::INPUTS)
                .for_each(|entropy: &[u8]| {
                    runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    target(&$crate::input(&seeds, entropy));
                });
            let runs = runs.into_inner();
            assert!(runs >= $crate::INPUTS, "only {runs} inputs were tried");
        }
    };
}

/// Seeds of a target: one file each.
///
/// # Panics
/// There are none: a target without a seed explores only the outermost check.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("a readable seed directory").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", dir.display());
    let read = |p| std::fs::read(p).expect("a readable seed");
    paths.iter().map(read).collect()
}

/// Turns entropy into an input: one time in eight the entropy itself, else a seed with a few
/// replaced, inserted, deleted, repeated or cut-off pieces.
pub fn input(seeds: &[Vec<u8>], entropy: &[u8]) -> Vec<u8> {
    let Some((&choice, script)) = entropy.split_first() else {
        return Vec::new();
    };
    if choice % 8 == 0 {
        return script.to_vec();
    }
    let mut out = seeds[usize::from(choice) % seeds.len()].clone();
    for step in script.chunks_exact(4) {
        let at = (usize::from(step[1]) << 8 | usize::from(step[2])) % (out.len() + 1);
        let value = step[3];
        let end = out.len().min(at + 1 + usize::from(value % 16));
        match step[0] % 6 {
            0 if at < out.len() => out[at] = value,
            1 => out.insert(at, value),
            2 => drop(out.drain(at..end)),
            3 => {
                let piece = out[at..end].to_vec();
                for _ in 0..1 + value / 32 {
                    out.splice(at..at, piece.iter().copied());
                }
            }
            4 if value > 200 => out.truncate(at),
            // Numbers at their edges upset length fields most.
            5 if at < out.len() => out[at] = [0, 1, 0x7f, 0x80, 0xff][usize::from(value) % 5],
            _ => {}
        }
        if out.len() > LONGEST {
            out.truncate(LONGEST);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::input;

    #[test]
    fn entropy_reaches_both_raw_bytes_and_changed_seeds() {
        let seeds = [b"seed".to_vec()];
        assert_eq!(input(&seeds, &[8, 1, 2]), [1, 2]);
        assert_eq!(input(&seeds, &[1]), b"seed");
        assert_eq!(input(&seeds, &[1, 0, 0, 1, b'X']), b"sXed");
        assert_eq!(input(&seeds, &[1, 2, 0, 0, 0]), b"eed");
    }
}
