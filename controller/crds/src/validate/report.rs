//! Collects findings, and the checks that several kinds share.

use crate::error::{Code, FieldError, Severity};
use crate::key::ObjectRef;
use crate::object::{Object, is_dns_label, is_dns_subdomain};
use std::fmt::Display;

/// Longest expression compiled; longer ones are a way to burn our memory.
const MAX_REGEX: usize = 4096;

/// Findings of one object.
pub(super) struct Report {
    object: ObjectRef,
    found: Vec<FieldError>,
}

impl Report {
    pub(super) fn new(object: &Object) -> Self {
        Self {
            object: ObjectRef::from(&object.key()),
            found: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<FieldError> {
        self.found
    }

    pub(super) fn error(&mut self, path: impl Display, reason: impl Display) {
        self.add(path, reason, Code::Schema, Severity::Error);
    }

    pub(super) fn unsupported(&mut self, path: impl Display, reason: impl Display) {
        self.add(path, reason, Code::Unsupported, Severity::Error);
    }

    pub(super) fn warn(&mut self, path: impl Display, reason: impl Display, code: Code) {
        self.add(path, reason, code, Severity::Warning);
    }

    fn add(&mut self, path: impl Display, reason: impl Display, code: Code, severity: Severity) {
        self.found.push(FieldError {
            object: self.object.clone(),
            path: path.to_string(),
            reason: reason.to_string(),
            code,
            severity,
        });
    }

    pub(super) fn required(&mut self, path: impl Display, empty: bool) {
        if empty {
            self.error(path, "required");
        }
    }

    /// More than one of these set.
    pub(super) fn exclusive(&mut self, path: &str, fields: &[(&str, bool)]) {
        let set: Vec<_> = fields
            .iter()
            .filter(|(_, set)| *set)
            .map(|(n, _)| *n)
            .collect();
        if set.len() > 1 {
            self.error(
                path,
                format_args!("only one of {} may be set", set.join(", ")),
            );
        }
    }

    pub(super) fn regex(&mut self, path: impl Display, pattern: &str) {
        if pattern.len() > MAX_REGEX {
            self.error(path, format_args!("longer than {MAX_REGEX} bytes"));
        } else if let Err(error) = regex::Regex::new(pattern) {
            // The engine draws a picture over several lines; the last one says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim();
            self.error(
                path,
                format_args!(
                    "not a regular expression: {}",
                    reason.trim_start_matches("error: ")
                ),
            );
        }
    }

    pub(super) fn percent(&mut self, path: impl Display, value: f64) {
        if !(0.0..=100.0).contains(&value) {
            self.error(path, "must be between 0 and 100");
        }
    }

    pub(super) fn port(&mut self, path: impl Display, port: u16) {
        if port == 0 {
            self.error(path, "must be between 1 and 65535");
        }
    }

    /// A host: a name, optionally starting with `*.`, or `*` alone where that is allowed.
    pub(super) fn host(&mut self, path: impl Display, host: &str, wildcard: bool) {
        let plain = match host.strip_prefix("*.") {
            Some(rest) if wildcard => rest,
            _ if wildcard && host == "*" => return,
            _ => host,
        };
        // Names are compared without case, as DNS does.
        if !is_dns_subdomain(&plain.to_ascii_lowercase())
            && plain.parse::<std::net::IpAddr>().is_err()
        {
            self.error(path, format_args!("`{}` is not a host name", clip(host)));
        }
    }

    /// What a request may be addressed to: a host and perhaps a port.
    pub(super) fn authority(&mut self, path: impl Display, text: &str) {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let named = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(fine),
        };
        if !named || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            self.error(
                path,
                format_args!("`{}` is not a host with or without a port", clip(text)),
            );
        }
    }

    pub(super) fn label(&mut self, path: impl Display, text: &str) {
        if !is_dns_label(text) {
            self.error(
                path,
                "must be lower-case letters, digits and `-`, at most 63",
            );
        }
    }

    pub(super) fn header_name(&mut self, path: impl Display, name: &str) {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let pseudo = matches!(name, ":authority" | ":method" | ":path" | ":scheme");
        if name.is_empty() || !(pseudo || name.bytes().all(token)) {
            self.error(path, format_args!("`{}` is not a header name", clip(name)));
        }
    }

    pub(super) fn header_value(&mut self, path: impl Display, value: &str) {
        if value.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0) {
            self.error(path, "must not contain line breaks");
        }
    }

    /// `exportTo`: `.`, `*`, `~` or namespaces; `*` and `~` stand alone.
    pub(super) fn export_to(&mut self, entries: &[String]) {
        for (i, entry) in entries.iter().enumerate() {
            let path = format!("spec.exportTo[{i}]");
            match entry.as_str() {
                "." => {}
                "*" | "~" if entries.len() > 1 => {
                    self.error(path, format_args!("`{entry}` must stand alone"));
                }
                "*" => {}
                "~" => self.unsupported(path, "`~` is not supported yet"),
                other => self.label(path, other),
            }
        }
    }
}

/// What a message quotes of a user's text.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
