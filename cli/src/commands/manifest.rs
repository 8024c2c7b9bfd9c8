//! `ambit manifest generate`: what `ambit install` would apply, as YAML.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::choice::Choice;
use crate::install::Bundle;
use crate::output::{self, Format, Verdict};

/// Options of `ambit manifest`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print the objects that `ambit install` would apply
    Generate(Choice),
    /// Print what can be set, with the defaults
    Settings,
    /// Print the profiles
    Profiles,
}

/// Prints objects. Nothing is asked of any cluster.
pub(crate) fn run(args: &Args, format: Format) -> Result<Verdict> {
    match &args.what {
        What::Generate(choice) => generate(choice, format)?,
        What::Settings => settings(format)?,
        What::Profiles => profiles(),
    }
    Ok(Verdict::Fine)
}

fn generate(choice: &Choice, format: Format) -> Result<()> {
    let chosen = choice.resolve()?;
    let rest = chosen.components.into_iter().flat_map(|c| c.objects);
    let objects: Vec<Value> = chosen.definitions.into_iter().chain(rest).collect();
    if format == Format::Json {
        return output::value(&objects, format);
    }
    for object in &objects {
        output::text(&format!("---\n{}", serde_saphyr::to_string(object)?));
    }
    Ok(())
}

fn settings(format: Format) -> Result<()> {
    let bundle = Bundle::embedded();
    if format != Format::Table {
        let map: serde_json::Map<String, Value> = bundle
            .settings
            .into_iter()
            .map(|s| (s.key, s.default))
            .collect();
        return output::value(&map, format);
    }
    let rows = bundle
        .settings
        .iter()
        .map(|s| vec![s.key.clone(), s.about.clone(), s.default.to_string()]);
    output::table(&["KEY", "WHAT", "DEFAULT"], rows);
    Ok(())
}

fn profiles() {
    let bundle = Bundle::embedded();
    let rows = bundle
        .profiles
        .iter()
        .map(|(name, p)| vec![name.clone(), p.about.clone(), p.components.join(", ")]);
    output::table(&["PROFILE", "WHAT", "COMPONENTS"], rows);
}
