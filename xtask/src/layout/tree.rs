//! The modules of a crate, read from its sources.
//! In: a package's targets. Out: every file that a `mod` reaches, parsed, with its module path and
//! whether it is only there for tests; files named by `include!`.
//! Spec: the Rust reference, "Module source filenames".

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::Visit;
use syn::{Attribute, Expr, Item, Lit, Meta};

use crate::workspace::Package;

/// One crate: a target of a package.
pub(super) struct Tree {
    /// `lib`, `bin`, `test`, …
    pub(super) kind: String,
    /// Its modules' files, the root first
    pub(super) files: Vec<Source>,
    /// Files it includes
    pub(super) included: BTreeSet<PathBuf>,
}

/// One file of a crate.
pub(super) struct Source {
    /// Where
    pub(super) path: PathBuf,
    /// Module path below the crate root
    pub(super) module: Vec<String>,
    /// Only compiled for tests
    pub(super) test: bool,
    /// Its text
    pub(super) text: String,
    /// Its syntax
    pub(super) syntax: syn::File,
}

/// Reads every crate of a package.
///
/// # Errors
/// A file that a `mod` names and that is not there, or does not parse.
pub(super) fn crates(package: &Package) -> Result<Vec<Tree>> {
    let read = |target: &crate::workspace::Target| {
        let kind = target.kind.first().cloned().unwrap_or_default();
        let test = kind == "test" || kind == "bench";
        let mut tree = Tree {
            kind,
            files: Vec::new(),
            included: BTreeSet::new(),
        };
        tree.read(&target.src_path, Vec::new(), test, true)?;
        Ok(tree)
    };
    package.targets.iter().map(read).collect()
}

impl Tree {
    fn read(&mut self, path: &Path, module: Vec<String>, test: bool, owns_dir: bool) -> Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let syntax = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let dir = path.parent().unwrap_or(path);
        let stem = path.file_stem().unwrap_or_default();
        let below = if owns_dir {
            dir.to_owned()
        } else {
            dir.join(stem)
        };
        let mut include = Includes {
            dir: dir.to_owned(),
            found: &mut self.included,
        };
        include.visit_file(&syntax);
        let items = syntax.items.clone();
        self.files.push(Source {
            path: path.to_owned(),
            module: module.clone(),
            test,
            text,
            syntax,
        });
        let place = Place {
            dir: dir.to_owned(),
            below,
            module,
            test,
        };
        self.items(&items, &place)
            .with_context(|| path.display().to_string())
    }

    fn items(&mut self, items: &[Item], place: &Place) -> Result<()> {
        for item in items {
            let Item::Mod(item) = item else { continue };
            let name = item.ident.to_string().trim_start_matches("r#").to_owned();
            let mut module = place.module.clone();
            module.push(name.clone());
            let test = place.test || cfg_test(&item.attrs);
            if let Some((_, inline)) = &item.content {
                let inner = Place {
                    dir: place.below.join(&name),
                    below: place.below.join(&name),
                    module,
                    test,
                };
                self.items(inline, &inner)?;
            } else if let Some(path) = path_attribute(&item.attrs) {
                self.read(&place.dir.join(path), module, test, true)?;
            } else {
                let flat = place.below.join(format!("{name}.rs"));
                let nested = place.below.join(&name).join("mod.rs");
                let (file, owns_dir) = if flat.exists() {
                    (flat, false)
                } else {
                    (nested, true)
                };
                self.read(&file, module, test, owns_dir)?;
            }
        }
        Ok(())
    }
}

/// Where a list of items is.
struct Place {
    dir: PathBuf,
    below: PathBuf,
    module: Vec<String>,
    test: bool,
}

/// Whether attributes keep an item out of what is shipped.
pub(super) fn cfg_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let condition = list.tokens.to_string();
        let mut words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
        list.path.is_ident("cfg") && words.any(|word| word == "test") && !condition.contains("not")
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(path) => Some(path.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
}

/// Finds `include!("file")`.
struct Includes<'a> {
    dir: PathBuf,
    found: &'a mut BTreeSet<PathBuf>,
}

impl<'ast> Visit<'ast> for Includes<'_> {
    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        if node.path.is_ident("include")
            && let Ok(Lit::Str(path)) = node.parse_body::<Lit>()
        {
            self.found.insert(self.dir.join(path.value()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_is_told_from_one_with_a_test_like_name() {
        let test: syn::ItemMod = syn::parse_quote!(
            #[cfg(test)]
            mod a {}
        );
        let both: syn::ItemMod = syn::parse_quote!(
            #[cfg(all(test, unix))]
            mod a {}
        );
        let other: syn::ItemMod = syn::parse_quote!(
            #[cfg(feature = "testing")]
            mod a {}
        );
        assert!(cfg_test(&test.attrs));
        assert!(cfg_test(&both.attrs));
        assert!(!cfg_test(&other.attrs));
    }
}
