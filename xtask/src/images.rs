//! `cargo xtask images`: container images of Ambit and of the samples, as OCI archives.
//! In: programs of this workspace, built here; for `curl` the machine's own. Out: `target/images/*.tar`
//! with a bill of materials beside each. An image holds a program, the loader, the libraries it names
//! and nothing else: no shell, no package manager. Samples have beside it what guides run in their pods.

mod bill;
mod build;
mod catalogue;
mod libraries;
mod strip;

use std::path::{Path, PathBuf};

use ambit_cluster::image::{self, Configuration, Content, Tree};
use ambit_cluster::say;
use anyhow::{Context as _, Result, bail};

use crate::workspace;
use build::Build;
use catalogue::Recipe;

/// Options of `cargo xtask images`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build with optimisation
    #[arg(long)]
    release: bool,
    /// Take programs as they were built last
    #[arg(long)]
    built: bool,
    /// Registry and directory of Ambit's images
    #[arg(long, default_value = catalogue::HUB)]
    hub: String,
    /// Tag of Ambit's images
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Only these: `ztunnel`, `controller`, `bookinfo-reviews-v1`, `ambit` (all of Ambit), `samples`, …
    only: Vec<String>,
}

/// What images are made with and from, and the Debian packages.
const PROGRAMS: [(&str, &str); 4] = [
    ("strip", "binutils"),
    ("ldd", "libc-bin"),
    ("curl", "curl"),
    ("busybox", "busybox-static"),
];

/// Builds and writes the images.
///
/// # Errors
/// A name that is not in the catalogue, a program that does not build.
pub(crate) fn run(args: &Args) -> Result<()> {
    let recipes = choose(catalogue::all(&args.hub, &args.tag), &args.only)?;
    make(&recipes, args.release, args.built).map(drop)
}

/// Images of samples, by name.
///
/// # Errors
/// As [`run`].
pub(crate) fn samples(names: &[&str]) -> Result<Vec<PathBuf>> {
    let only: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let recipes = catalogue::all(catalogue::HUB, env!("CARGO_PKG_VERSION"));
    make(&choose(recipes, &only)?, false, false)
}

/// Images by name, of programs built with optimisation.
///
/// # Errors
/// As [`run`].
pub(crate) fn optimised(names: &[&str]) -> Result<()> {
    let only: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let recipes = catalogue::all(catalogue::HUB, env!("CARGO_PKG_VERSION"));
    make(&choose(recipes, &only)?, true, false).map(drop)
}

/// Builds what must run without libraries; the rest is taken from the workspace's own build.
///
/// # Errors
/// What does not build.
pub(crate) fn build_static(group: &str) -> Result<()> {
    Build::new(workspace::read()?.target_directory, false).fixed(group)
}

fn choose(all: Vec<Recipe>, only: &[String]) -> Result<Vec<Recipe>> {
    if only.is_empty() {
        return Ok(all);
    }
    let unknown = only
        .iter()
        .find(|name| !all.iter().any(|recipe| recipe.is(name)));
    if let Some(name) = unknown {
        let names: Vec<&str> = all.iter().map(|recipe| recipe.name.as_str()).collect();
        bail!("there is no image {name}; there are {}", names.join(", "));
    }
    Ok(all
        .into_iter()
        .filter(|recipe| only.iter().any(|name| recipe.is(name)))
        .collect())
}

fn make(recipes: &[Recipe], release: bool, built: bool) -> Result<Vec<PathBuf>> {
    ambit_cluster::install_programs(&PROGRAMS)?;
    let target = workspace::read()?.target_directory;
    let build = Build::new(target, release);
    for group in catalogue::GROUPS {
        if !built && recipes.iter().any(|recipe| recipe.is(group)) {
            build.group(group)?;
        }
    }
    let mut archives = Vec::new();
    for recipe in recipes {
        archives.push(one(recipe, &build).with_context(|| format!("image {}", recipe.name))?);
    }
    Ok(archives)
}

fn one(recipe: &Recipe, build: &Build) -> Result<PathBuf> {
    let images = build.target().join("images");
    let mut tree = Tree::new();
    identities(&mut tree);
    for program in &recipe.programs {
        let file = match build.place(program) {
            Some(built) => strip::copy(&built, &images.join("stripped"))?,
            None => libraries::find(program.file)?,
        };
        tree.program(&format!("{}/{}", program.to, program.file), &file);
        libraries::add(&mut tree, &file)?;
    }
    for (path, target) in &recipe.links {
        tree.link(path, target);
    }
    let bill = bill::of(recipe).context("its bill of materials")?;
    tree.file(
        &format!("usr/share/sbom/{}.cdx.json", recipe.name),
        Content::Bytes(bill.clone()),
        0o644,
    );
    let archive = images.join(format!("{}.tar", recipe.name));
    let digest = image::write(&archive, &configuration(recipe), &tree)?;
    let beside = images.join(format!("{}.cdx.json", recipe.name));
    std::fs::write(&beside, bill).with_context(|| beside.display().to_string())?;
    say(&format!(
        "{} {digest} {} {}",
        recipe.references[0],
        size(&archive),
        workspace::place(&archive)
    ));
    Ok(archive)
}

/// Names for the users that programs run as; a temporary directory.
fn identities(tree: &mut Tree) {
    let users = "root:x:0:0::/:/nonexistent\nambit:x:1337:1337::/:/nonexistent\nsample:x:1000:1000::/:/nonexistent\n";
    let groups = "root:x:0:\nambit:x:1337:\nsample:x:1000:\n";
    tree.file("etc/passwd", Content::Bytes(users.into()), 0o644)
        .file("etc/group", Content::Bytes(groups.into()), 0o644)
        .file(
            "etc/nsswitch.conf",
            Content::Bytes(b"hosts: files dns\n".to_vec()),
            0o644,
        )
        .directory("tmp", 0o1777);
}

fn configuration(recipe: &Recipe) -> Configuration {
    let label =
        |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_owned());
    let labels = [
        label("title", &recipe.name),
        label("description", recipe.description),
        label("version", env!("CARGO_PKG_VERSION")),
        label("licenses", "Apache-2.0"),
        label("ref.name", &recipe.references[0]),
    ];
    Configuration {
        references: recipe.references.clone(),
        entrypoint: recipe
            .entrypoint
            .iter()
            .map(|word| (*word).to_owned())
            .collect(),
        command: recipe
            .command
            .iter()
            .map(|word| (*word).to_owned())
            .collect(),
        environment: recipe
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        user: recipe.user.to_owned(),
        ports: recipe
            .ports
            .iter()
            .map(|port| format!("{port}/tcp"))
            .collect(),
        labels: labels.into_iter().collect(),
        ..Configuration::default()
    }
}

fn size(file: &Path) -> String {
    let bytes = std::fs::metadata(file)
        .map(|metadata| metadata.len())
        .unwrap_or_default();
    format!("{} MB", bytes.div_ceil(1_000_000))
}
