//! What is not to be said: `--suppress "IST0102=Namespace dev*"`.

use std::str::FromStr;

use super::{Finding, MESSAGES};

/// One code of some objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suppression {
    code: String,
    /// `Kind name.namespace`, as istioctl writes it; `*` stands for anything
    pattern: String,
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (code, pattern) = text
            .split_once('=')
            .ok_or("expected CODE=OBJECT, such as \"IST0102=Namespace default\"")?;
        if !MESSAGES.iter().any(|m| m.code == code) {
            return Err(format!(
                "{code} is no code; `ambit analyze --list-analyzers` has them"
            ));
        }
        Ok(Self {
            code: code.to_owned(),
            pattern: pattern.to_owned(),
        })
    }
}

impl Suppression {
    /// Whether it is about this finding.
    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        self.code == finding.code && fits(&self.pattern, &named(&finding.origin))
    }
}

/// `Kind namespace/name` as `Kind name.namespace`.
fn named(origin: &str) -> String {
    let (kind, name) = origin.split_once(' ').unwrap_or(("", origin));
    match name.split_once('/') {
        Some((namespace, name)) => format!("{kind} {name}.{namespace}"),
        None => format!("{kind} {name}"),
    }
}

/// Whether a pattern with `*` fits a text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = true;
        if part.is_empty() {
            continue;
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
        || open
            && (pattern.ends_with('*')
                || text.ends_with(pattern.rsplit('*').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("Pod a.b", "Pod a.b", true),
            ("Pod a.b", "Pod a.bc", false),
            ("Pod *.b", "Pod x.b", true),
            ("Pod *.b", "Pod x.bc", false),
            ("*", "anything", true),
            ("Pod *", "Service x", false),
            ("* a*b*", "Pod xaxbx", false),
            ("* a*b*", "Pod axbx", true),
            ("*.b", "Pod b.b.b", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn codes_must_be_known() {
        assert!("IST9999=Pod a".parse::<Suppression>().is_err());
        assert!("IST0102".parse::<Suppression>().is_err());
        assert!("IST0102=Namespace *".parse::<Suppression>().is_ok());
        assert_eq!(named("Pod b/a"), "Pod a.b");
        assert_eq!(named("Namespace a"), "Namespace a");
    }
}
