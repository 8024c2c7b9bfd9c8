//! `process_*`: descriptors, memory and CPU time of this process, read at scrape.
//! Source: `/proc/self`; names of the Prometheus client libraries.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// Registers the process metrics.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

/// Unit of the times in `/proc/self/stat`: part of the kernel's ABI on every architecture we build for.
const USER_HZ: f64 = 100.0;

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<u64>| match value {
            Some(value) => {
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
            }
            None => Ok(()),
        };
        gauge(
            "process_open_fds",
            "Number of open file descriptors",
            open_fds(),
        )?;
        let most = getrlimit(Resource::Nofile).current;
        gauge(
            "process_max_fds",
            "Maximum number of open file descriptors",
            most,
        )?;
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            resident(),
        )?;
        if let Some(seconds) = cpu_seconds() {
            let help = "Total user and system CPU time spent in seconds";
            let name = "process_cpu_seconds";
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        Ok(())
    }
}

fn open_fds() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // The directory itself is open while it is read.
    Some((entries.count() as u64).saturating_sub(1))
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program name may hold blanks; it ends at the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_process_are_readable() {
        assert!(open_fds().unwrap() >= 3);
        assert!(resident().unwrap() > 100_000);
        assert!(cpu_seconds().is_some());
    }
}
