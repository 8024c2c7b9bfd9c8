//! Cycles among the top-level modules of a crate.
//! In: the paths that shipped code names. Out: one line per cycle.
//! A path leads to a module by `crate::module`, by enough `super`, or by a name the root re-exports.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemFn, ItemMod, Path, UseTree};

use super::tree::{Source, Tree, cfg_test};
use crate::workspace::Package;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every breach of a package.
pub(super) fn check(package: &Package, crates: &[Tree]) -> Vec<String> {
    let shipped = crates
        .iter()
        .filter(|tree| tree.kind == "lib" || tree.kind == "bin");
    shipped
        .flat_map(|tree| cycles(&graph(tree)))
        .map(|cycle| {
            format!(
                "{}: modules depend on each other: {}",
                package.place(),
                cycle.join(" → ")
            )
        })
        .collect()
}

fn graph(tree: &Tree) -> Graph {
    let Some(root) = tree.files.first() else {
        return Graph::new();
    };
    let modules: BTreeSet<String> = tree
        .files
        .iter()
        .filter_map(|f| f.module.first().cloned())
        .collect();
    let exported = exports(root);
    let mut graph = Graph::new();
    for file in tree.files.iter().filter(|file| !file.test) {
        let Some(own) = file.module.first() else {
            continue;
        };
        let mut names = Names {
            depth: file.module.len(),
            found: BTreeSet::new(),
        };
        names.visit_file(&file.syntax);
        for name in names.found {
            let to = if modules.contains(&name) {
                Some(&name)
            } else {
                exported.get(&name)
            };
            if let Some(to) = to.filter(|to| *to != own) {
                graph.entry(own.clone()).or_default().insert(to.clone());
            }
        }
    }
    graph
}

/// Names the root re-exports, with the module they come from.
fn exports(root: &Source) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for item in &root.syntax.items {
        if let Item::Use(item) = item
            && let UseTree::Path(path) = &item.tree
        {
            let first = path.ident.to_string();
            let (module, tree) = match (first.as_str(), &*path.tree) {
                ("crate" | "self", UseTree::Path(inner)) => (inner.ident.to_string(), &*inner.tree),
                (_, tree) => (first, tree),
            };
            leaves(tree, &mut |name| {
                found.insert(name, module.clone());
            });
        }
    }
    found
}

fn leaves(tree: &UseTree, found: &mut impl FnMut(String)) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, found),
        UseTree::Name(name) => found(name.ident.to_string()),
        UseTree::Rename(rename) => found(rename.rename.to_string()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, found)),
        UseTree::Glob(_) => {}
    }
}

/// The first name below the crate root of every path that leads there.
struct Names {
    depth: usize,
    found: BTreeSet<String>,
}

impl Names {
    fn segments(&mut self, segments: &[String]) {
        let supers = segments.iter().take_while(|s| *s == "super").count();
        let name = match segments.first().map(String::as_str) {
            Some("crate") => segments.get(1),
            Some("super") if supers == self.depth => segments.get(supers),
            _ => None,
        };
        self.found.extend(name.cloned());
    }

    fn tree(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(before, &path.tree);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            UseTree::Name(syn::UseName { ident })
            | UseTree::Rename(syn::UseRename { ident, .. }) => {
                before.push(ident.to_string());
                self.segments(before);
                before.pop();
            }
            UseTree::Glob(_) => self.segments(before),
        }
    }

    fn shipped(attributes: &[Attribute]) -> bool {
        !cfg_test(attributes)
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        if Self::shipped(&node.attrs) {
            self.tree(&mut Vec::new(), &node.tree);
        }
    }

    fn visit_path(&mut self, node: &'ast Path) {
        let segments: Vec<String> = node.segments.iter().map(|s| s.ident.to_string()).collect();
        self.segments(&segments);
        visit::visit_path(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        let words: Vec<String> = node
            .tokens
            .to_string()
            .replace("::", " :: ")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        for window in words.windows(3) {
            if window[0] == "crate" && window[1] == "::" {
                self.found.insert(window[2].clone());
            }
        }
        visit::visit_macro(self, node);
    }

    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        if Self::shipped(&node.attrs) {
            self.depth += 1;
            visit::visit_item_mod(self, node);
            self.depth -= 1;
        }
    }

    fn visit_item_fn(&mut self, node: &'ast ItemFn) {
        if Self::shipped(&node.attrs) {
            visit::visit_item_fn(self, node);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast ImplItemFn) {
        if Self::shipped(&node.attrs) {
            visit::visit_impl_item_fn(self, node);
        }
    }
}

/// One cycle per group of modules that all reach each other, as a closed walk.
fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for start in graph.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(walk) = walk_back(graph, start) {
            let group = reached(graph, start);
            told.extend(
                group
                    .into_iter()
                    .filter(|name| reached(graph, name).contains(start)),
            );
            found.push(walk);
        }
    }
    found
}

fn reached(graph: &Graph, start: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open = vec![start.to_owned()];
    while let Some(at) = open.pop() {
        for to in graph.get(&at).into_iter().flatten() {
            if all.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    all
}

/// The shortest walk from `start` back to itself.
fn walk_back(graph: &Graph, start: &String) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&String, &String> = BTreeMap::new();
    let mut level = vec![start];
    while !level.is_empty() {
        let mut next = Vec::new();
        for at in level {
            for to in graph.get(at).into_iter().flatten() {
                if to == start {
                    let mut walk = vec![start.clone(), at.clone()];
                    let mut back = at;
                    while let Some(before) = came_from.get(back) {
                        walk.push((*before).clone());
                        back = before;
                    }
                    walk.dedup();
                    walk.reverse();
                    return Some(walk);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, at);
                    next.push(to);
                }
            }
        }
        level = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn a_cycle_is_told_once_and_a_tree_is_none() {
        assert!(cycles(&graph(&[("a", "b"), ("a", "c"), ("b", "c")])).is_empty());
        let found = cycles(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]));
        assert_eq!(found, [["a", "b", "c", "a"]]);
    }

    #[test]
    fn paths_by_crate_super_and_groups_name_modules_and_test_code_does_not() {
        let file = syn::parse_quote! {
            use crate::{one::A, two};
            use super::three::B;
            use super::super::four::C;
            fn f() { crate::five::g(); println!("{}", crate::six::h()); }
            #[cfg(test)]
            mod tests { use crate::seven::D; }
        };
        let mut names = Names {
            depth: 1,
            found: BTreeSet::new(),
        };
        names.visit_file(&file);
        let found: Vec<_> = names.found.iter().map(String::as_str).collect();
        assert_eq!(found, ["five", "one", "six", "three", "two"]);
    }
}
