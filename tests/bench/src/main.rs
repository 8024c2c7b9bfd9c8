//! Side-by-side measurements of the mesh, as ratios within one run.
//! In: options. Out: a table, JSON, and whether the gates hold.
//! One program plays every part: it makes the lab and counts (`bench`), generates load (`load`), answers
//! it (`serve`), is the floor the mesh is held against (`floor`), and dials the capture hop (`hop`).
//! Never here: absolute promises. Machines differ; only figures of one run may be compared.
#![forbid(unsafe_code)]

mod bench;
mod floor;
mod hop;
mod load;
mod message;
mod pattern;
mod serve;
mod tune;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "ambit-bench",
    about = "Measures the mesh against no mesh and against bare relays"
)]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Make a lab, measure all contenders, print the comparison
    Run(bench::Args),
    /// Answer load: the server pod
    #[command(hide = true)]
    Serve(serve::Args),
    /// Generate load: the client pod
    #[command(hide = true)]
    Load(load::Args),
    /// Relay connections: one half of a floor
    #[command(hide = true)]
    Relay(floor::Args),
    /// Dial the capture hop
    #[command(hide = true)]
    Hop(hop::client::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().part {
        Part::Run(args) => bench::run(args),
        Part::Serve(args) => serve::run(&args),
        Part::Load(args) => load::run(&args),
        Part::Relay(args) => floor::run(&args),
        Part::Hop(args) => hop::client::run(&args),
    }
}
