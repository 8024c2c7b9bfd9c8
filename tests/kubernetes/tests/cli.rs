//! Every command of `ambit` on a real cluster.

use ambit_kubernetes_tests::{Site, can_run, cli, outside};
use anyhow::Result;

#[test]
fn the_commands_do_what_they_say_from_installation_to_removal() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::up(&format!("c{}", std::process::id()))?;
    cli::run(&site)?;
    site.down()
}

#[test]
fn certificates_are_signed_by_an_authority_outside() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let name = format!("o{}", std::process::id());
    let site = Site::of(&name, &outside::SAMPLES, &outside::OPTIONS)?;
    outside::run(&site)?;
    site.down()
}
