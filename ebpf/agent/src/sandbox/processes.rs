//! Processes of pods, from the host's proc.
//! In: a proc directory and uids. Out: each pod's processes, oldest first, with their namespace files.
//! Owns nothing. Must not happen here: a decision which of them has the pod's network.
//! Spec: proc_pid_cgroup(5), proc_pid_stat(5).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::pod_cgroup::{CgroupUid, container_of, pod_of};

/// One process of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// In the pid namespace of that proc.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
    /// Its container, as the runtime's cgroup names it; the oldest process is the sandbox's.
    pub container: Option<String>,
    /// Its network namespace.
    pub netns: PathBuf,
}

/// Processes of these pods, oldest first.
///
/// # Errors
/// The directory cannot be listed. A process that goes meanwhile is left out.
pub fn of_pods<'a>(
    proc: &Path,
    uids: &'a [CgroupUid],
) -> io::Result<BTreeMap<&'a CgroupUid, Vec<Process>>> {
    let mut found: BTreeMap<_, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir(proc)? {
        let path = entry?.path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = pid else { continue };
        if let Some((uid, process)) = read_process(&path, pid, uids) {
            found.entry(uid).or_default().push(process);
        }
    }
    for processes in found.values_mut() {
        processes.sort_by_key(|process| (process.started, process.pid));
        processes.truncate(MOST);
    }
    Ok(found)
}

fn read_process<'a>(
    dir: &Path,
    pid: u32,
    uids: &'a [CgroupUid],
) -> Option<(&'a CgroupUid, Process)> {
    let cgroups = read(&dir.join("cgroup"))?;
    let (uid, path) = cgroups.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        let named = pod_of(path)?;
        let uid = uids.iter().find(|uid| uid.is_named(named))?;
        Some((uid, path))
    })?;
    let process = Process {
        pid,
        started: started(&read(&dir.join("stat"))?)?,
        container: container_of(path).map(str::to_owned),
        netns: dir.join("ns/net"),
    };
    Some((uid, process))
}

/// The 22nd field; the second is a name that may hold blanks and parentheses.
fn started(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
        .ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Longest file read, in bytes.
const LONGEST: u64 = 64 << 10;
/// Processes of one pod that are worth a look.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn process(proc: &Path, pid: u32, cgroup: &str, stat: &str) {
        let dir = proc.join(pid.to_string());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        fs::write(dir.join("stat"), stat).unwrap();
    }

    fn stat(name: &str, started: u64) -> String {
        let zeros = "0 ".repeat(18);
        format!("7 ({name}) S {zeros}{started} 0 0\n")
    }

    #[test]
    fn the_oldest_process_of_each_pod_comes_first() {
        let proc = tempfile::tempdir().unwrap();
        let dir = proc.path();
        process(dir, 30, "0::/kubepods/poda-1/late\n", &stat("app", 900));
        process(dir, 20, "0::/kubepods/poda-1/late\n", &stat("b) S (", 901));
        process(
            dir,
            40,
            "12:cpu:/kubepods/poda-1/pause\n0::/kubepods/poda-1/pause\n",
            &stat("pause", 100),
        );
        process(dir, 50, "0::/kubepods/podb-2/x\n", &stat("other", 1));
        process(
            dir,
            60,
            "0::/kubepods/podb-2/x/poda-1/y\n",
            &stat("other", 2),
        );
        process(dir, 70, "nonsense", "");
        process(dir, 80, "0::/kubepods/poda-1/x\n", "cut (");
        process(dir, 90, "0:::\n\n::::\n", &stat("x", 5));
        fs::create_dir(dir.join("sys")).unwrap();
        fs::create_dir(dir.join("99999999999")).unwrap();
        fs::create_dir(dir.join("91")).unwrap();
        let uids = ["a-1", "c-3"].map(|uid| CgroupUid::new(uid).unwrap());
        let found = of_pods(dir, &uids).unwrap();
        assert_eq!(found.len(), 1);
        let a = &found[&uids[0]];
        let pids: Vec<_> = a.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [40, 30, 20]);
        assert_eq!(a[0].container.as_deref(), Some("pause"));
        assert_eq!(a[0].netns, dir.join("40/ns/net"));
    }

    #[test]
    fn names_in_stat_cannot_move_the_fields() {
        assert_eq!(started(&stat("plain", 5)), Some(5));
        assert_eq!(started(&stat(") 1 2 3 (", 6)), Some(6));
        for broken in ["", "1 (a", "1 (a) S", "1 (a) S x x", ") ) )"] {
            assert_eq!(started(broken), None, "{broken}");
        }
    }
}
