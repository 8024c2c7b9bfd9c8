//! One line per connection or request.
//! In: a message and ordered fields. Out: a line in the format of the process: plain
//! (`time\tlevel\tscope\tmessage\tk=v k=v`, which Kiali splits at tabs) or JSON.
//! Whether a line is wanted follows the level of the log target `access`.
//! Spec: ztunnel access log; Kiali's node-proxy log parser.

use crate::logging::Format;
use crate::sink::Sink;
use std::fmt::{Display, Write};
use tracing::Level;

/// Log target of access lines, as in `RUST_LOG=access=debug`.
pub const TARGET: &str = "access";

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Of interest when looking closely.
    Debug,
    /// Went well.
    Info,
    /// Ended before it began.
    Warn,
    /// Went wrong.
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Value of one field.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Text, quoted and escaped.
    Text(&'a str),
    /// Something that prints without blanks or quotes: an address, a word.
    Bare(&'a dyn Display),
    /// Something that prints as text, quoted and escaped.
    Quoted(&'a dyn Display),
    /// A number.
    Number(u64),
}

/// One line.
pub struct Line<'a> {
    /// How serious.
    pub severity: Severity,
    /// Constant text, for example `connection complete`.
    pub message: &'a str,
    /// Facts, in order.
    pub fields: &'a [(&'a str, Value<'a>)],
}

/// Writes access lines.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    sink: Sink,
}

impl AccessLog {
    /// A log in `format`.
    pub fn new(format: Format, sink: Sink) -> Self {
        Self { format, sink }
    }

    /// Whether lines of this severity are wanted at the moment.
    pub fn wants(severity: Severity) -> bool {
        match severity {
            Severity::Debug => tracing::enabled!(target: TARGET, Level::DEBUG),
            Severity::Info => tracing::enabled!(target: TARGET, Level::INFO),
            Severity::Warn => tracing::enabled!(target: TARGET, Level::WARN),
            Severity::Error => tracing::enabled!(target: TARGET, Level::ERROR),
        }
    }

    /// Writes the line if its severity is wanted. Never blocks.
    pub fn write(&self, line: &Line<'_>) {
        if Self::wants(line.severity) {
            let now = jiff::Timestamp::now();
            self.sink.line(render(self.format, &now, line).into_bytes());
        }
    }

    /// Writes a line that is already in its final form, for formats of other programs.
    pub fn raw(&self, severity: Severity, line: String) {
        if Self::wants(severity) {
            self.sink.line(line.into_bytes());
        }
    }
}

fn render(format: Format, now: &jiff::Timestamp, line: &Line<'_>) -> String {
    match format {
        Format::Plain => plain(now, line),
        Format::Json => json(now, line),
    }
}

fn plain(now: &jiff::Timestamp, line: &Line<'_>) -> String {
    let mut out = String::with_capacity(512);
    let (level, message) = (line.severity.as_str(), line.message);
    // Writing to a string cannot fail.
    let _ = write!(out, "{now:.6}\t{level}\t{TARGET}\t{message}\t");
    for (i, (name, value)) in line.fields.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        let _ = match value {
            Value::Text(text) => write!(out, "{name}={text:?}"),
            Value::Quoted(text) => write!(out, "{name}={:?}", text.to_string()),
            Value::Bare(text) => write!(out, "{name}={text}"),
            Value::Number(number) => write!(out, "{name}={number}"),
        };
    }
    out.push('\n');
    out
}

fn json(now: &jiff::Timestamp, line: &Line<'_>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("level".into(), line.severity.as_str().into());
    object.insert("time".into(), format!("{now:.6}").into());
    object.insert("scope".into(), TARGET.into());
    object.insert("message".into(), line.message.into());
    for (name, value) in line.fields {
        let value = match value {
            Value::Text(text) => (*text).into(),
            Value::Bare(text) | Value::Quoted(text) => text.to_string().into(),
            Value::Number(number) => (*number).into(),
        };
        object.insert((*name).into(), value);
    }
    let mut out = serde_json::Value::Object(object).to_string();
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn sample(format: Format) -> String {
        let src: SocketAddr = "10.244.1.2:4000".parse().unwrap();
        let line = Line {
            severity: Severity::Info,
            message: "connection complete",
            fields: &[
                ("src.addr", Value::Bare(&src)),
                ("src.workload", Value::Text("cli\"ent\n")),
                ("bytes_sent", Value::Number(7)),
                ("duration", Value::Quoted(&format_args!("{}ms", 12))),
            ],
        };
        render(
            format,
            &"2026-01-02T03:04:05.678901Z".parse().unwrap(),
            &line,
        )
    }

    /// Kiali: five tab-separated columns, the fifth holds `k=v` pairs.
    #[test]
    fn plain_lines_have_five_columns() {
        assert_eq!(
            sample(Format::Plain),
            "2026-01-02T03:04:05.678901Z\tinfo\taccess\tconnection complete\t\
             src.addr=10.244.1.2:4000 src.workload=\"cli\\\"ent\\n\" bytes_sent=7 duration=\"12ms\"\n"
        );
    }

    #[test]
    fn json_lines_hold_the_same_facts() {
        assert_eq!(
            sample(Format::Json),
            "{\"level\":\"info\",\"time\":\"2026-01-02T03:04:05.678901Z\",\"scope\":\"access\",\
             \"message\":\"connection complete\",\"src.addr\":\"10.244.1.2:4000\",\
             \"src.workload\":\"cli\\\"ent\\n\",\"bytes_sent\":7,\"duration\":\"12ms\"}\n"
        );
    }
}
