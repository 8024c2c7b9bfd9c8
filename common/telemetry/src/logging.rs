//! The process log: `tracing` events in the line format of upstream proxies, to the shared sink.
//! In: `RUST_LOG`-style directives, changeable while running (admin `/logging`). Out: lines.
//! Owns: the global subscriber, set once by [`init`].

use crate::sink::Sink;
use ambit_runtime::causes::causes;
use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// Shape of a line (`LOG_FORMAT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time\tlevel\tscope\tmessage\tk=v`.
    #[default]
    Plain,
    /// One JSON object.
    Json,
}

/// A `LOG_FORMAT` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be `plain` or `json`")]
pub struct NoFormat;

impl FromStr for Format {
    type Err = NoFormat;

    fn from_str(text: &str) -> Result<Self, NoFormat> {
        match text {
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            _ => Err(NoFormat),
        }
    }
}

/// Why logging could not be set up or changed.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The directives do not parse.
    #[error("`{directives}` are not log levels")]
    Directives {
        /// What was given.
        directives: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The subscriber could not be set or replaced.
    #[error("the log subscriber cannot be {what}")]
    Subscriber {
        /// `set` or `changed`.
        what: &'static str,
    },
}

/// Reads and changes the levels of the running process.
#[derive(Clone, Debug)]
pub struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    current: Arc<Mutex<String>>,
    initial: Arc<str>,
}

/// Sets the global subscriber. `directives` as in `RUST_LOG`, for example `info,access=debug`.
///
/// # Errors
/// The directives do not parse, or a subscriber was set before.
pub fn init(format: Format, directives: &str, sink: Sink) -> Result<Levels, LoggingError> {
    let (filter, handle) = reload::Layer::new(parse(directives)?);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(ToSink { sink })
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|_| LoggingError::Subscriber { what: "set" })?;
    Ok(Levels {
        handle,
        current: Arc::new(Mutex::new(directives.to_owned())),
        initial: directives.into(),
    })
}

fn parse(directives: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| LoggingError::Directives {
            directives: directives.to_owned(),
            source,
        })
}

impl Levels {
    /// The directives in force.
    pub fn current(&self) -> String {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the directives: `debug`, or `target=level,…`; the latter keep a general level.
    ///
    /// # Errors
    /// They do not parse; the old ones stay.
    pub fn set(&self, directives: &str) -> Result<(), LoggingError> {
        let general = directives.split(',').any(|d| !d.contains('='));
        let whole = if general {
            directives.to_owned()
        } else {
            format!("{},{directives}", self.current())
        };
        self.handle
            .reload(parse(&whole)?)
            .map_err(|_| LoggingError::Subscriber { what: "changed" })?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = whole;
        Ok(())
    }

    /// Back to what the process started with.
    ///
    /// # Errors
    /// The subscriber is gone.
    pub fn reset(&self) -> Result<(), LoggingError> {
        let initial = self.initial.to_string();
        self.handle
            .reload(parse(&initial)?)
            .map_err(|_| LoggingError::Subscriber { what: "changed" })?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = initial;
        Ok(())
    }
}

struct ToSink {
    sink: Sink,
}

struct LineWriter {
    sink: Sink,
}

impl<'a> MakeWriter<'a> for ToSink {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter {
            sink: self.sink.clone(),
        }
    }
}

/// The subscriber formats a whole event, then writes it at once.
impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.line(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Lines {
    format: Format,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut facts = Facts::default();
        event.record(&mut facts);
        let meta = event.metadata();
        let level = match *meta.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let now = jiff::Timestamp::now();
        match self.format {
            Format::Plain => {
                let (scope, message) = (meta.target(), &facts.message);
                write!(out, "{now:.6}\t{level}\t{scope}\t{message}\t")?;
                for (i, (name, value)) in facts.fields.iter().enumerate() {
                    let gap = if i > 0 { " " } else { "" };
                    match value {
                        serde_json::Value::String(text) => write!(out, "{gap}{name}={text:?}")?,
                        other => write!(out, "{gap}{name}={other}")?,
                    }
                }
                writeln!(out)
            }
            Format::Json => {
                let mut object = serde_json::Map::new();
                object.insert("level".into(), level.into());
                object.insert("time".into(), format!("{now:.6}").into());
                object.insert("scope".into(), meta.target().into());
                object.insert("message".into(), facts.message.into());
                object.extend(facts.fields.into_iter().map(|(n, v)| (n.to_owned(), v)));
                writeln!(out, "{}", serde_json::Value::Object(object))
            }
        }
    }
}

#[derive(Default)]
struct Facts {
    message: String,
    fields: Vec<(&'static str, serde_json::Value)>,
}

impl Facts {
    fn push(&mut self, field: &Field, value: serde_json::Value) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Facts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.push(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, causes(value).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Memory(Sender<Vec<u8>>);
    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).ok();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One test only may set the global subscriber of this process.
    #[test]
    fn lines_follow_the_format_and_levels_change_while_running() {
        let (to, lines) = channel();
        let sink = Sink::start(Memory(to), 100).unwrap();
        let levels = init(Format::Plain, "info", sink.clone()).unwrap();
        let text = || {
            sink.flush(std::time::Duration::from_secs(10));
            let all: Vec<u8> = lines.try_iter().flatten().collect();
            String::from_utf8(all).unwrap()
        };
        tracing::info!(target: "xds", size = 3_u64, name = "a b", "connected");
        let line = text();
        let columns: Vec<&str> = line.trim_end().split('\t').collect();
        assert_eq!(
            columns[1..],
            ["info", "xds", "connected", "size=3 name=\"a b\""]
        );
        tracing::debug!(target: "xds", "hidden");
        assert_eq!(text(), "");
        levels.set("xds=debug").unwrap();
        assert_eq!(levels.current(), "info,xds=debug");
        tracing::debug!(target: "xds", "seen");
        assert!(text().contains("\tdebug\txds\tseen\t"));
        assert!(levels.set("xds=loud").is_err());
        levels.reset().unwrap();
        assert_eq!(levels.current(), "info");
        tracing::debug!(target: "xds", "hidden again");
        assert_eq!(text(), "");
    }
}
