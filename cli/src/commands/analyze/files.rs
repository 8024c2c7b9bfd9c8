//! Files and directories for `ambit analyze`.
//! A directory that the mesh writes statuses into is read as the controller reads it. Everything else is
//! put side by side first, so that names of files do not matter.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ambit_source::Batch;
use anyhow::{Context, Result, ensure};

/// Endings of files that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// More is a mistake, such as a whole home directory.
const MOST_FILES: usize = 10_000;

/// Reads all of them.
///
/// # Errors
/// If one cannot be read, or there are none.
pub(super) fn read(paths: &[&PathBuf]) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        if path.join(".status").is_dir() {
            let batch = ambit_source::load(path);
            batches.push(batch.with_context(|| format!("read {}", path.display()))?);
        } else {
            find(path, true, &mut files)?;
        }
    }
    if !files.is_empty() || batches.is_empty() {
        ensure!(!files.is_empty(), "there is no .yaml, .yml or .json file");
        batches.push(together(&files)?);
    }
    Ok(batches)
}

/// Files of a path; below directories only those that look like objects.
fn find(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    ensure!(files.len() < MOST_FILES, "more than {MOST_FILES} files");
    let ending = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if path.as_os_str() == "-" {
        files.push(path.to_owned());
        return Ok(());
    }
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if metadata.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| path.display().to_string())?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            let hidden = entry
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if !hidden {
                find(&entry, false, files)?;
            }
        }
    } else if named || ENDINGS.contains(&ending) {
        files.push(path.to_owned());
    }
    Ok(())
}

/// Copies files beside each other under names of ours, reads them, and names them as they are called.
fn together(files: &[PathBuf]) -> Result<Batch> {
    let dir = tempfile::tempdir().context("a directory for the files")?;
    let mut names = BTreeMap::new();
    for (i, file) in files.iter().enumerate() {
        let json = file.extension().is_some_and(|e| e == "json");
        let name = format!("{i:05}.{}", if json { "json" } else { "yaml" });
        let text = match file.as_os_str() == "-" {
            true => {
                let mut text = Vec::new();
                std::io::stdin().read_to_end(&mut text)?;
                text
            }
            false => std::fs::read(file).with_context(|| file.display().to_string())?,
        };
        std::fs::write(dir.path().join(&name), text).context("a copy of a file")?;
        names.insert(PathBuf::from(name), file);
    }
    let mut batch = ambit_source::load(dir.path()).context("the files")?;
    for problem in &mut batch.problems {
        if let Some(name) = names.get(&problem.file) {
            problem.file.clone_from(name);
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_name_and_depth_are_read_together() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n";
        std::fs::write(deep.join("x.yml"), namespace.replace("NAME", "one")).unwrap();
        std::fs::write(dir.path().join("notes.txt"), "no object").unwrap();
        let odd = dir.path().join("odd.conf");
        std::fs::write(&odd, namespace.replace("NAME", "two")).unwrap();
        let bad = dir.path().join("bad.yaml");
        std::fs::write(&bad, "a: [").unwrap();
        let root = dir.path().to_owned();
        let batches = read(&[&root, &odd]).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].changes.len(), 2);
        assert_eq!(batches[0].problems.len(), 1);
        assert_eq!(batches[0].problems[0].file, bad);
        let empty = tempfile::tempdir().unwrap();
        assert!(read(&[&empty.path().to_owned()]).is_err());
        assert!(read(&[&root.join("missing")]).is_err());
    }
}
