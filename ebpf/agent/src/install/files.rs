//! The node's CNI directories.
//! In: our plugin's object and binary. Out: both in place, or taken away; every change by one rename.
//! Owns nothing: other programs write there too. Must not happen here: a half-written file that the
//! container runtime reads, or a file that is not a network configuration touched.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::conflist::{self, ConfError, Edit, PLUGIN};

/// The directories of one node.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where the container runtime finds network configurations.
    pub conf_dir: PathBuf,
    /// Where it finds plugins.
    pub bin_dir: PathBuf,
    /// Our plugin, to be copied.
    pub binary: PathBuf,
}

/// A file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Reading or writing.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory was removed on the node: this mount shows a dead one.
    #[error("{path} was removed on the node")]
    Replaced {
        /// The directory.
        path: PathBuf,
    },
}

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The configuration our plugin is in; `None` if the node has none yet.
    pub conf: Option<PathBuf>,
    /// Files written or removed.
    pub changed: Vec<PathBuf>,
    /// Files that come first by name but are no configurations, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

impl Files {
    /// Puts binary and configuration in place, as far as they are not.
    ///
    /// # Errors
    /// [`FilesError`]; what was there is whole then.
    pub fn install(&self, ours: &Value) -> Result<Report, FilesError> {
        let mut report = Report::default();
        let target = self.bin_dir.join(PLUGIN);
        if copy(&self.binary, &target)? {
            report.changed.push(target);
        }
        for (name, path) in configurations(&self.conf_dir)? {
            match self.chain_one(&name, &path, ours) {
                Ok((conf, changed)) => {
                    report.conf = Some(conf);
                    report.changed.extend(changed);
                    break;
                }
                Err(Failure::NotUsable(error)) => {
                    report
                        .skipped
                        .push((path, ambit_runtime::causes::causes(&error)));
                }
                Err(Failure::Files(error)) => return Err(error),
            }
        }
        Ok(report)
    }

    /// Takes our plugin out of every configuration, then removes the binary.
    ///
    /// # Errors
    /// [`FilesError`]; the binary stays while a configuration names it.
    pub fn remove(&self) -> Result<Report, FilesError> {
        let mut report = Report::default();
        for (name, path) in configurations(&self.conf_dir)? {
            let Some(form) = conflist::form_of(&name) else {
                continue;
            };
            let Ok(edit) = read(&path).map(|text| conflist::unchain(&text, form)) else {
                continue;
            };
            match edit {
                Ok(Edit::Replace(text)) => {
                    put(&path, &text, CONF_MODE)?;
                    report.changed.push(path);
                }
                Ok(Edit::Restore(single, text)) => {
                    let restored = self.conf_dir.join(single);
                    put(&restored, &text, CONF_MODE)?;
                    delete(&path)?;
                    report.changed.extend([restored, path]);
                }
                Ok(Edit::Nothing | Edit::Convert(_)) => {}
                Err(error) => report
                    .skipped
                    .push((path, ambit_runtime::causes::causes(&error))),
            }
        }
        let binary = self.bin_dir.join(PLUGIN);
        if delete(&binary)? {
            report.changed.push(binary);
        }
        Ok(report)
    }

    fn chain_one(
        &self,
        name: &str,
        path: &Path,
        ours: &Value,
    ) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
        let Some(form) = conflist::form_of(name) else {
            return Err(Failure::NotUsable(ConfError::NotAnObject));
        };
        let text = read(path)?;
        match conflist::chain(&text, form, name, ours).map_err(Failure::NotUsable)? {
            Edit::Replace(text) => {
                put(path, &text, CONF_MODE)?;
                Ok((path.to_owned(), vec![path.to_owned()]))
            }
            Edit::Convert(text) => {
                let list = path.with_extension("conflist");
                put(&list, &text, CONF_MODE)?;
                delete(path)?;
                Ok((list.clone(), vec![list, path.to_owned()]))
            }
            Edit::Nothing | Edit::Restore(..) => Ok((path.to_owned(), Vec::new())),
        }
    }
}

enum Failure {
    NotUsable(ConfError),
    Files(FilesError),
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

/// Names and paths the runtime would look at, in its order.
fn configurations(dir: &Path) -> Result<Vec<(String, PathBuf)>, FilesError> {
    let listing = failed("list", dir);
    match fs::metadata(dir) {
        Ok(found) if found.nlink() == 0 => {
            return Err(FilesError::Replaced {
                path: dir.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(listing(error)),
        Ok(_) => {}
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| conflist::form_of(name).is_some())
            && fs::metadata(&path).is_ok_and(|file| file.is_file())
        {
            found.push((name.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
        .map_err(failed("read", path))?;
    Ok(text)
}

/// Copies if the target differs; says whether.
fn copy(from: &Path, to: &Path) -> Result<bool, FilesError> {
    let wanted = fs::read(from).map_err(failed("read", from))?;
    let same = fs::metadata(to).is_ok_and(|found| {
        found.is_file() && found.len() == wanted.len() as u64 && found.mode() & 0o777 == BINARY_MODE
    }) && fs::read(to).is_ok_and(|found| found == wanted);
    if !same {
        put(to, &wanted, BINARY_MODE)?;
    }
    Ok(!same)
}

/// Replaces a file in one step.
fn put(path: &Path, text: &[u8], mode: u32) -> Result<(), FilesError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(failed("make", dir))?;
    // A name the runtime does not read.
    let staging = dir.join(format!(".{PLUGIN}.{}.new", std::process::id()));
    let written = File::create(&staging).and_then(|mut file| {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&staging, path));
    if placed.is_err() {
        // The error that matters is the first.
        let _ = fs::remove_file(&staging);
    }
    placed.map_err(failed("write", path))
}

/// Removes a file; says whether there was one.
fn delete(path: &Path) -> Result<bool, FilesError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
    let path = path.to_owned();
    move |source| FilesError::Io {
        action,
        path,
        source,
    }
}

/// Longest configuration read, in bytes; a longer one is cut off and so no JSON.
const LONGEST: u64 = 1 << 20;
const BINARY_MODE: u32 = 0o755;
const CONF_MODE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Node {
        _dir: tempfile::TempDir,
        files: Files,
    }

    fn node() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            conf_dir: dir.path().join("net.d"),
            bin_dir: dir.path().join("bin"),
            binary: dir.path().join("plugin"),
        };
        fs::create_dir(&files.conf_dir).unwrap();
        fs::write(&files.binary, "one").unwrap();
        Node { _dir: dir, files }
    }

    fn ours() -> Value {
        json!({"type": PLUGIN})
    }

    fn conf(kind: &str) -> String {
        json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": kind}]}).to_string()
    }

    impl Node {
        fn write(&self, name: &str, text: &str) {
            fs::write(self.files.conf_dir.join(name), text).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.files.conf_dir).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }

        fn types(&self, name: &str) -> Vec<String> {
            let text = fs::read(self.files.conf_dir.join(name)).unwrap();
            let list: Value = serde_json::from_slice(&text).unwrap();
            let plugins = list["plugins"].as_array().unwrap().iter();
            plugins
                .map(|plugin| plugin["type"].as_str().unwrap().to_owned())
                .collect()
        }
    }

    #[test]
    fn the_first_usable_configuration_by_name_is_chained() {
        let node = node();
        let report = node.files.install(&ours()).unwrap();
        assert_eq!(report.conf, None);
        node.write("00-broken.conflist", "{");
        node.write("05-readme.txt", "no");
        node.write("10-pods.conflist", &conf("ptp"));
        node.write("20-other.conflist", &conf("bridge"));
        fs::create_dir(node.files.conf_dir.join("01-dir.conflist")).unwrap();
        let report = node.files.install(&ours()).unwrap();
        assert_eq!(
            report.conf,
            Some(node.files.conf_dir.join("10-pods.conflist"))
        );
        assert_eq!(report.skipped.len(), 1);
        assert_eq!(node.types("10-pods.conflist"), ["ptp", PLUGIN]);
        assert_eq!(node.types("20-other.conflist"), ["bridge"]);
        assert!(node.files.install(&ours()).unwrap().changed.is_empty());
        // The primary writes its file again, as at a restart.
        node.write("10-pods.conflist", &conf("ptp"));
        assert_eq!(node.files.install(&ours()).unwrap().changed.len(), 1);
        assert_eq!(node.types("10-pods.conflist"), ["ptp", PLUGIN]);
        node.files.remove().unwrap();
        assert_eq!(node.types("10-pods.conflist"), ["ptp"]);
        assert!(node.names().iter().all(|name| !name.ends_with(".new")));
    }

    #[test]
    fn a_single_configuration_is_replaced_and_put_back() {
        let node = node();
        let single = json!({"cniVersion": "0.4.0", "name": "n", "type": "bridge"});
        node.write("10-net.conf", &single.to_string());
        let report = node.files.install(&ours()).unwrap();
        assert_eq!(node.names(), ["10-net.conflist"]);
        assert_eq!(
            report.conf,
            Some(node.files.conf_dir.join("10-net.conflist"))
        );
        assert!(node.files.install(&ours()).unwrap().changed.is_empty());
        node.files.remove().unwrap();
        assert_eq!(node.names(), ["10-net.conf"]);
        let text = fs::read(node.files.conf_dir.join("10-net.conf")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), single);
    }

    #[test]
    fn the_binary_follows_its_source_and_goes_last() {
        let node = node();
        let target = node.files.bin_dir.join(PLUGIN);
        node.files.install(&ours()).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o755);
        fs::write(&node.files.binary, "two").unwrap();
        assert_eq!(
            node.files.install(&ours()).unwrap().changed,
            std::slice::from_ref(&target)
        );
        assert_eq!(fs::read(&target).unwrap(), b"two");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(node.files.install(&ours()).unwrap().changed.len(), 1);
        assert_eq!(
            node.files.remove().unwrap().changed,
            std::slice::from_ref(&target)
        );
        assert!(!target.exists());
        assert!(node.files.remove().unwrap().changed.is_empty());
    }

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let node = node();
        let dir = File::open(&node.files.conf_dir).unwrap();
        fs::remove_dir(&node.files.conf_dir).unwrap();
        use std::os::fd::AsRawFd;
        let files = Files {
            conf_dir: format!("/proc/self/fd/{}", dir.as_raw_fd()).into(),
            ..node.files.clone()
        };
        assert!(matches!(
            files.install(&ours()),
            Err(FilesError::Replaced { .. })
        ));
    }
}
