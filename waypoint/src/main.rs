//! L7 proxy: HBONE in, routed requests out by HBONE.

fn main() {}
