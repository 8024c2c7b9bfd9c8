//! What the agent must still know after its own restart: one file per pod the CNI plugin announced.
//! In: [`Entry`]s. Out: files `<run dir>/pods/<slot>.json`, written by rename; at start, all that can be read.
//! Owns that directory. Must not happen here: a half-written entry taken for a whole one.
//! A damaged file is reported with its slot, which must then stay reserved: its pod may still be captured.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ambit_ebpf_loader::Slot;
use serde::{Deserialize, Serialize};

/// One pod, enrolled or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Pod uid, or `namespace/name` where there is none.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Service account; empty until the source has told it.
    pub service_account: String,
    /// The sandbox, as the runtime names it.
    pub container_id: String,
    /// Path of the pod's network namespace.
    pub netns: PathBuf,
    /// Device and inode of that file.
    pub inode: (u64, u64),
    /// `SO_NETNS_COOKIE` of the namespace.
    pub cookie: u64,
    /// Slot number on this node.
    pub slot: u32,
    /// Addresses the CNI plugin reported.
    pub ips: Vec<IpAddr>,
}

/// Everything found at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Entries that are whole, by slot.
    pub entries: Vec<Entry>,
    /// Slots whose file cannot be read, with the reason.
    pub damaged: Vec<(Option<Slot>, PathBuf, String)>,
}

/// The directory of entries.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
}

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct JournalError {
    /// What was tried.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Journal {
    /// Opens the journal below the run directory, which is made if need be.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(run_dir: &Path) -> Result<Self, JournalError> {
        let dir = run_dir.join("pods");
        fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
        Ok(Self { dir })
    }

    /// Writes or replaces an entry; on return it survives a crash of the machine.
    ///
    /// # Errors
    /// [`JournalError`]; the older entry is still there then.
    pub fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(entry.slot);
        let staging = path.with_extension("new");
        let bytes =
            serde_json::to_vec(entry).expect("strings, numbers and addresses always serialize");
        let written = File::create(&staging).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(failed("write", &staging))?;
        fs::rename(&staging, &path).map_err(failed("write", &path))?;
        self.sync()
    }

    /// Removes the entry of a slot; none there is no error.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn remove(&self, slot: u32) -> Result<(), JournalError> {
        let path = self.path(slot);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed("remove", &path)),
        }
    }

    /// Reads all entries. Leftovers of interrupted writes are removed.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn load(&self) -> Result<Loaded, JournalError> {
        let mut loaded = Loaded::default();
        let files = fs::read_dir(&self.dir).map_err(failed("list", &self.dir))?;
        for file in files {
            let path = file.map_err(failed("list", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                continue;
            }
            let slot = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok())
                .and_then(Slot::new);
            match read(&path, slot) {
                Ok(entry) => loaded.entries.push(entry),
                Err(reason) => loaded.damaged.push((slot, path, reason)),
            }
        }
        loaded.entries.sort_by_key(|entry| entry.slot);
        Ok(loaded)
    }

    /// Ends the journal: its directory goes unless a file is left in it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn end(self) -> Result<(), JournalError> {
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other.map_err(failed("remove", &self.dir)),
        }
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.dir.join(format!("{slot}.json"))
    }

    fn sync(&self) -> Result<(), JournalError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("sync", &self.dir))
    }
}

fn read(path: &Path, slot: Option<Slot>) -> Result<Entry, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    match slot {
        Some(slot) if slot.number() == entry.slot => Ok(entry),
        _ => Err(format!("the file's name does not fit slot {}", entry.slot)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: u32) -> Entry {
        Entry {
            uid: format!("uid-{slot}"),
            namespace: "shop".into(),
            name: "web".into(),
            service_account: "web".into(),
            container_id: "c0ffee".into(),
            netns: "/run/netns/x".into(),
            inode: (4, 4_026_533_000),
            cookie: u64::MAX,
            slot,
            ips: vec!["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        }
    }

    #[test]
    fn entries_survive_and_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&entry(3)).unwrap();
        journal.write(&entry(1)).unwrap();
        let mut changed = entry(3);
        changed.service_account = "other".into();
        journal.write(&changed).unwrap();
        let loaded = Journal::open(dir.path()).unwrap().load().unwrap();
        assert_eq!(loaded.entries, [entry(1), changed]);
        assert!(loaded.damaged.is_empty());
        journal.remove(1).unwrap();
        journal.remove(1).unwrap();
        assert_eq!(journal.load().unwrap().entries.len(), 1);
        journal.remove(3).unwrap();
        journal.end().unwrap();
        assert!(!dir.path().join("pods").exists());
    }

    #[test]
    fn a_torn_file_is_reported_with_its_slot_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&entry(1)).unwrap();
        journal.write(&entry(2)).unwrap();
        let path = dir.path().join("pods/2.json");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let loaded = journal.load().unwrap();
            assert_eq!(loaded.entries, [entry(1)], "cut at {cut}");
            assert_eq!(loaded.damaged[0].0, Slot::new(2));
        }
    }

    #[test]
    fn wrong_names_and_unfinished_writes_are_no_entries() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let bytes = serde_json::to_vec(&entry(5)).unwrap();
        fs::write(dir.path().join("pods/7.json"), &bytes).unwrap();
        fs::write(dir.path().join("pods/99999.json"), &bytes).unwrap();
        fs::write(dir.path().join("pods/5.new"), &bytes).unwrap();
        let loaded = journal.load().unwrap();
        assert!(loaded.entries.is_empty());
        let mut slots: Vec<_> = loaded
            .damaged
            .iter()
            .map(|(slot, ..)| slot.map(Slot::number))
            .collect();
        slots.sort();
        assert_eq!(slots, [None, Some(7)]);
        assert!(!dir.path().join("pods/5.new").exists());
    }
}
