//! `/logging`: shows and changes log levels.

use ambit_runtime::admin::{Reply, Request};
use ambit_telemetry::logging::Levels;
use http::StatusCode;

/// `?level=debug`, `?level=target=level,…`, `?reset`; without arguments it lists them.
pub(super) fn change(levels: &Levels, request: &Request) -> Reply {
    let changed = if request.param("reset").is_some() {
        levels.reset()
    } else if let Some(level) = request.param("level") {
        levels.set(level)
    } else {
        Ok(())
    };
    match changed {
        Ok(()) => Reply::text(format!("current log level is {}\n", levels.current())),
        Err(error) => Reply::error(
            StatusCode::BAD_REQUEST,
            ambit_runtime::causes::causes(&error) + "\n",
        ),
    }
}
