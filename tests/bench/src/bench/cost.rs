//! What proxies cost: processor time and memory of everything in their cgroups.
//! In: cgroup2 directories. Out: sums. The kernel counts threads that have ended, too.
//! Spec: `cpu.stat` `usage_usec` in Documentation/admin-guide/cgroup-v2.rst; `VmRSS` in proc(5).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ambit_harness::until;
use anyhow::Context;

/// Longest wait for memory to settle.
const SETTLES: Duration = Duration::from_secs(3);

/// The cgroups of one contender's proxies; none without proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(pub(crate) Vec<PathBuf>);

impl Proxies {
    /// Processor time used so far, user and system.
    ///
    /// # Errors
    /// A cgroup that is gone.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for cgroup in &self.0 {
            let path = cgroup.join("cpu.stat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let usage = field(&text, "usage_usec").context("usage_usec in cpu.stat")?;
            sum += Duration::from_micros(usage);
        }
        Ok(sum)
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// A cgroup that is gone, or has no process.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for cgroup in &self.0 {
            let path = cgroup.join("cgroup.procs");
            let pids = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            anyhow::ensure!(!pids.is_empty(), "no process in {}", cgroup.display());
            for pid in pids.lines() {
                let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
                sum += field(&status, "VmRSS:").context("VmRSS of a proxy")?;
            }
        }
        Ok(sum)
    }

    /// Resident memory in KiB once it has stopped changing.
    ///
    /// # Errors
    /// As [`Self::resident`], or it does not stop.
    pub(crate) async fn settled(&self) -> anyhow::Result<u64> {
        let seen = std::sync::Mutex::new((0, 0_u32));
        let settled = until("memory of the proxies to settle", SETTLES, || async {
            let now = self.resident().map_err(|error| error.to_string())?;
            let mut last = seen.lock().map_err(|_| "poisoned".to_owned())?;
            *last = if last.0 == now {
                (now, last.1 + 1)
            } else {
                (now, 0)
            };
            if last.1 >= 4 {
                Ok(now)
            } else {
                Err(format!("{now} KiB"))
            }
        });
        match settled.await {
            Ok(kib) => Ok(kib),
            // A proxy that never rests is measured as it is.
            Err(_) => self.resident(),
        }
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let stat = "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n";
        assert_eq!(field(stat, "usage_usec"), Some(1234));
        assert_eq!(field(stat, "usage"), None);
        let status = "Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  640 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(640));
    }
}
