//! Settings from the environment: read once, typed, every mistake reported together.
//! In: an [`Env`] (the process, or a map in tests). Out: values, and one [`Mistakes`] at the end.
//! Must not: fall back silently when a value is there but wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Where settings come from.
pub trait Env {
    /// Value of one variable, `None` when it is not set.
    fn lookup(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn lookup(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl Env for BTreeMap<String, String> {
    fn lookup(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }
}

/// One variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Variable name.
    pub name: String,
    /// What was given; `None` when a required variable is not set.
    pub value: Option<String>,
    /// Why it cannot be used.
    pub reason: String,
}

/// Every mistake of one pass over the environment, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, m) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            match &m.value {
                Some(value) => write!(f, "{}={value}: {}", m.name, m.reason)?,
                None => write!(f, "{}: {}", m.name, m.reason)?,
            }
        }
        Ok(())
    }
}

/// Typed getters over an [`Env`] that collect mistakes instead of stopping at the first.
pub struct Reader<'a> {
    env: &'a dyn Env,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    /// Starts a pass.
    pub fn new(env: &'a dyn Env) -> Self {
        Self {
            env,
            mistakes: RefCell::new(Vec::new()),
        }
    }

    /// Text of a variable. Unset and empty are the same, as Kubernetes manifests cannot unset.
    pub fn text(&self, name: &str) -> Option<String> {
        let raw = self.env.lookup(name)?;
        match raw.into_string() {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(text),
            Err(raw) => {
                self.reject(name, Some(raw.to_string_lossy().into_owned()), "not UTF-8");
                None
            }
        }
    }

    /// Value of any type with `FromStr`; `None` when unset or wrong (the mistake is kept).
    pub fn optional<T>(&self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(name)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = format!("{error}");
                self.reject(name, Some(text), &reason);
                None
            }
        }
    }

    /// Like [`Self::optional`] with a default for an unset variable.
    pub fn or<T>(&self, name: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    /// A variable that must be set. `None` only together with a recorded mistake.
    pub fn required<T>(&self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if self.env.lookup(name).is_none_or(|raw| raw.is_empty()) {
            self.reject(name, None, "required, but not set");
            return None;
        }
        self.optional(name)
    }

    /// `true/false`, `1/0`, `yes/no`, `on/off`, in any case.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.reject(name, Some(text), "expected true or false");
                default
            }
        }
    }

    /// A duration such as `500ms`, `1.5s`, `10m`, `1h30m`.
    pub fn duration(&self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.text(name) else {
            return default;
        };
        parse_duration(text.trim()).unwrap_or_else(|| {
            self.reject(
                name,
                Some(text),
                "expected a duration such as 500ms or 1m30s",
            );
            default
        })
    }

    /// A comma-separated list; blanks around items and empty items are dropped.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.text(name)
            .map(|text| {
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Records a mistake the caller found, for example two variables that exclude each other.
    pub fn reject(&self, name: &str, value: Option<String>, reason: &str) {
        self.mistakes.borrow_mut().push(Mistake {
            name: name.to_owned(),
            value,
            reason: reason.to_owned(),
        });
    }

    /// Ends the pass: every mistake at once.
    pub fn finish(self) -> Result<(), Mistakes> {
        let mistakes = self.mistakes.into_inner();
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(mistakes))
        }
    }
}

/// Parses one or more `<number><unit>` with units h, m, s, ms, us. `None` for anything else, for
/// negative values and for more than 100 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const LIMIT_SECONDS: f64 = 100.0 * 365.0 * 86_400.0;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit_len] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                _ => return None,
            };
        rest = &rest[unit_len..];
    }
    (seconds <= LIMIT_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let env = env(&[("PORT", "99999"), ("ON", "maybe"), ("WAIT", "5 lightyears")]);
        let r = Reader::new(&env);
        assert_eq!(r.or::<u16>("PORT", 1), 1);
        assert!(r.flag("ON", true));
        assert_eq!(
            r.duration("WAIT", Duration::from_secs(2)),
            Duration::from_secs(2)
        );
        assert_eq!(r.required::<String>("NODE_NAME"), None);
        let mistakes = r.finish().unwrap_err();
        let names: Vec<_> = mistakes.0.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["PORT", "ON", "WAIT", "NODE_NAME"]);
        assert!(
            mistakes
                .to_string()
                .contains("ON=maybe: expected true or false")
        );
    }

    #[test]
    fn defaults_only_where_nothing_is_set() {
        let env = env(&[("A", "7"), ("EMPTY", ""), ("LIST", " a, ,b ")]);
        let r = Reader::new(&env);
        assert_eq!(r.or("A", 1u16), 7);
        assert_eq!(r.or("EMPTY", 3u16), 3);
        assert_eq!(r.list("LIST"), ["a", "b"]);
        r.finish().unwrap();
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in [
            "",
            "5",
            "-1s",
            "1..2s",
            "s",
            "1d",
            "99999999999999999h",
            "1e400s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
