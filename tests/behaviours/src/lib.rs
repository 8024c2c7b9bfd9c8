//! Behaviours of the whole mesh with the real binaries. See `tests/`.
