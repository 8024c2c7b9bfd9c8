//! The files of an image.
//! In: files, directories, links by path. Out: one tar layer, always the same for the same tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes
    Bytes(Vec<u8>),
    /// What a file of this machine holds when the layer is made
    File(PathBuf),
}

#[derive(Clone, Debug)]
enum Entry {
    Directory { mode: u32 },
    File { content: Content, mode: u32 },
    Link { target: String },
}

/// Files by their path in the image, without the leading `/`. Directories above them come by themselves.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Nothing at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory with a mode.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.add(path, Entry::Directory { mode })
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, content: Content, mode: u32) -> &mut Self {
        self.add(path, Entry::File { content, mode })
    }

    /// Adds a program of this machine.
    pub fn program(&mut self, path: &str, from: &Path) -> &mut Self {
        self.file(path, Content::File(from.to_owned()), 0o755)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(
            path,
            Entry::Link {
                target: target.to_owned(),
            },
        )
    }

    /// Whether the path is there.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_matches('/'))
    }

    fn add(&mut self, path: &str, entry: Entry) -> &mut Self {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.0
                .entry(path[..end].to_owned())
                .or_insert(Entry::Directory { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), entry);
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in &self.0 {
            let context = || format!("/{path}");
            match entry {
                Entry::Directory { mode } => {
                    let mut header = header(EntryType::Directory, *mode, 0);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())
                }
                Entry::File { content, mode } => {
                    let bytes = match content {
                        Content::Bytes(bytes) => bytes.clone(),
                        Content::File(file) => {
                            std::fs::read(file).with_context(|| file.display().to_string())?
                        }
                    };
                    let mut header = header(EntryType::Regular, *mode, bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes.as_slice())
                }
                Entry::Link { target } => {
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, path, target)
                }
            }
            .with_context(context)?;
        }
        tar.into_inner().context("end a layer")
    }
}

/// A header without time and owner.
pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
