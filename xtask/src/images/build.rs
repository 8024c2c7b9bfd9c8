//! Programs for images, built by cargo.
//! In: a group of recipes. Out: programs in cargo's build directory.
//! All programs of a group are built at once, whichever image was asked for: cargo chooses the features of
//! common crates by the packages it is given, and would build them anew for every choice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::catalogue::{self, Program, Source};
use crate::workspace::{self, cargo};

/// Where programs are built, and how.
pub(super) struct Build {
    target: PathBuf,
    release: bool,
}

impl Build {
    /// In cargo's build directory.
    pub(super) fn new(target: PathBuf, release: bool) -> Self {
        Self { target, release }
    }

    /// Cargo's build directory.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Where a program is after it was built; none for one of the machine.
    pub(super) fn place(&self, program: &Program) -> Option<PathBuf> {
        let profile = if self.release { "release" } else { "debug" };
        match program.source {
            Source::Workspace { .. } => Some(self.target.join(profile).join(program.file)),
            Source::Static { .. } => {
                Some(self.target.join(triple()).join(profile).join(program.file))
            }
            Source::Machine => None,
        }
    }

    /// Builds the programs of a group.
    pub(super) fn group(&self, group: &str) -> Result<()> {
        self.cargo(&packages(group).dynamic, &[])?;
        self.fixed(group)
    }

    /// Builds those programs of a group that need no libraries.
    pub(super) fn fixed(&self, group: &str) -> Result<()> {
        // Flags for a target that is named do not reach build scripts, which load libraries.
        let flags = format!(
            "target.{}.rustflags=['-C', 'target-feature=+crt-static']",
            triple()
        );
        self.cargo(
            &packages(group).fixed,
            &["--target", &triple(), "--config", &flags],
        )
    }

    fn cargo(&self, packages: &BTreeSet<&str>, options: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        let mut command = cargo();
        command.arg("build").args(options);
        for package in packages {
            command.args(["--package", package]);
        }
        if self.release {
            command.arg("--release");
        }
        workspace::run(&mut command)
    }
}

/// Packages of a group by how they are linked.
#[derive(Default)]
struct Packages {
    dynamic: BTreeSet<&'static str>,
    fixed: BTreeSet<&'static str>,
}

fn packages(group: &str) -> Packages {
    let recipes = catalogue::all(catalogue::HUB, env!("CARGO_PKG_VERSION"));
    let mut packages = Packages::default();
    let recipes = recipes.iter().filter(|recipe| recipe.is(group));
    for program in recipes.flat_map(|recipe| &recipe.programs) {
        match program.source {
            Source::Workspace { package } => packages.dynamic.insert(package),
            Source::Static { package } => packages.fixed.insert(package),
            Source::Machine => false,
        };
    }
    packages
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}
