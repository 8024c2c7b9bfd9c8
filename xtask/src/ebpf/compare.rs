//! Do two objects mean the same?
//!
//! In: two ELF files. Out: the sections that differ in what the kernel gets: instructions, map
//! definitions, constants, licence, relocations. Symbol order and BTF may differ: they name source
//! paths.

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a section and where in it which symbol is filled in.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    bytes: Vec<u8>,
    relocations: Vec<(u64, String)>,
}

/// Names of the sections that are not the same.
pub(crate) fn differences(left: &[u8], right: &[u8]) -> Result<Vec<String>> {
    let (left, right) = (sections(left)?, sections(right)?);
    let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    Ok(names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name))
        .cloned()
        .collect())
}

fn sections(bytes: &[u8]) -> Result<BTreeMap<String, Section>> {
    let file = object::File::parse(bytes).context("parse the object")?;
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let name = section.name().context("name of a section")?;
        let counts = section.kind() == SectionKind::Text
            || matches!(name, "maps" | ".maps" | "license" | ".rodata" | ".data");
        if !counts {
            continue;
        }
        let relocations = section
            .relocations()
            .map(|(offset, relocation)| Ok((offset, target(&file, relocation.target())?)))
            .collect::<Result<_>>()?;
        let section = Section {
            bytes: section.data().context("contents of a section")?.to_vec(),
            relocations,
        };
        sections.insert(name.to_owned(), section);
    }
    Ok(sections)
}

/// A symbol by name, or by section and offset where it has none.
fn target(file: &object::File<'_>, target: RelocationTarget) -> Result<String> {
    let RelocationTarget::Symbol(index) = target else {
        return Ok(format!("{target:?}"));
    };
    let symbol = file.symbol_by_index(index).context("relocated symbol")?;
    let name = symbol.name().context("name of a symbol")?;
    if !name.is_empty() {
        return Ok(name.to_owned());
    }
    let section = match symbol.section_index() {
        Some(index) => file.section_by_index(index)?.name()?.to_owned(),
        None => String::new(),
    };
    Ok(format!("{section}+{}", symbol.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Vec<u8> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::fs::read(root.join(crate::ebpf::OBJECT)).unwrap()
    }

    #[test]
    fn an_object_equals_itself_and_a_changed_instruction_is_named() {
        let left = object();
        assert!(differences(&left, &left).unwrap().is_empty());
        let mut right = left.clone();
        let (start, _) = {
            let file = object::File::parse(&*left).unwrap();
            let section = file.section_by_name("sk_lookup").unwrap();
            section.file_range().unwrap()
        };
        right[usize::try_from(start).unwrap()] ^= 0xff;
        assert_eq!(differences(&left, &right).unwrap(), ["sk_lookup"]);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(differences(b"", b"ELF").is_err());
    }
}
