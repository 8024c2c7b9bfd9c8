//! How many data-plane workers.
//! `ZTUNNEL_WORKER_THREADS` (`N`, `N%` of the CPUs, `0` for all of them), else the CPU limit, else the
//! largest of 2, a quarter of the CPUs and the CPU request.

use ambit_runtime::env::Reader;

/// Workers the ZDS extension can serve: five roles each, and one message holds 253 descriptors per
/// part, so the bound is only against typing errors.
const MOST: usize = 512;

pub(super) fn count(reader: &Reader<'_>) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let limit = [LIMIT, RESOURCE_LIMIT]
        .into_iter()
        .find_map(|name| cores(reader, name));
    let request = cores(reader, REQUEST);
    match reader.text(THREADS) {
        None => default(cpus, limit, request),
        Some(text) => parse(&text, cpus).unwrap_or_else(|reason| {
            reader.reject(THREADS, Some(text), reason);
            default(cpus, limit, request)
        }),
    }
}

fn parse(text: &str, cpus: usize) -> Result<usize, &'static str> {
    let wrong = "must be a number, a percentage or 0";
    let count = match text.strip_suffix('%') {
        Some(percent) => {
            let percent: usize = percent.parse().map_err(|_| wrong)?;
            if !(1..=100).contains(&percent) {
                return Err("a percentage is between 1 and 100");
            }
            (cpus * percent).div_ceil(100)
        }
        None => match text.parse().map_err(|_| wrong)? {
            0 => cpus,
            count => count,
        },
    };
    if count > MOST {
        Err("more than 512 workers")
    } else {
        Ok(count.max(1))
    }
}

fn default(cpus: usize, limit: Option<usize>, request: Option<usize>) -> usize {
    limit
        .unwrap_or_else(|| cpus.div_ceil(4).max(2).max(request.unwrap_or(0)))
        .clamp(1, MOST)
}

/// A Kubernetes CPU quantity in whole cores, rounded up: `2`, `1500m`.
fn cores(reader: &Reader<'_>, name: &str) -> Option<usize> {
    let text = reader.text(name)?;
    let parsed = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<usize>().map(|m| m.div_ceil(1000)),
        None => text.parse(),
    };
    match parsed {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(_) => {
            reader.reject(name, Some(text), "not a number of CPUs");
            None
        }
    }
}

const THREADS: &str = "ZTUNNEL_WORKER_THREADS";
const LIMIT: &str = "ZTUNNEL_CPU_LIMIT";
const RESOURCE_LIMIT: &str = "ZTUNNEL_RESOURCE_CPU_LIMIT";
const REQUEST: &str = "ZTUNNEL_RESOURCE_CPU_REQUEST";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_count() {
        let cases = [
            ("3", 3),
            ("0", 8),
            ("25%", 2),
            ("30%", 3),
            ("100%", 8),
            ("1%", 1),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, 8), Ok(expected), "{text}");
        }
        for bad in ["", "x", "-1", "0%", "101%", "1.5", "100000"] {
            assert!(parse(bad, 8).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_count_the_limit_wins_then_the_largest_guess() {
        assert_eq!(default(8, Some(1), Some(4)), 1);
        assert_eq!(default(8, None, Some(4)), 4);
        assert_eq!(default(8, None, None), 2);
        assert_eq!(default(64, None, None), 16);
    }
}
