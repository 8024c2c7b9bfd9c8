//! One rule and the requests that show it.
//! In: `http` entries of a VirtualService and questions with their expected answers. Out: every answer
//! that was another one, with the name of its case. Counts are exact.

use crate::stage::{AccessLine, REVIEWS, Stage, VERSION};
use ambit_harness::client::HttpSummary;
use anyhow::Result;
use serde_json::Value;

/// Requests of a question, unless it says otherwise.
const REQUESTS: u64 = 10;

/// One rule.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Entries of `spec.http`, indented by four.
    pub(crate) http: String,
    pub(crate) asks: Vec<Ask>,
}

/// Requests that are alike and what comes back.
pub(crate) struct Ask {
    path: &'static str,
    args: Vec<&'static str>,
    requests: u64,
    status: u16,
    version: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
    seen: Vec<(&'static str, Option<&'static str>)>,
    said: Option<(&'static str, &'static str)>,
    least_ms: u64,
    counted: Vec<(&'static str, &'static str, u64)>,
}

/// Requests for `path`; they are answered with 200.
pub(crate) fn get(path: &'static str) -> Ask {
    Ask {
        path,
        args: Vec::new(),
        requests: REQUESTS,
        status: 200,
        version: None,
        headers: Vec::new(),
        body: None,
        seen: Vec::new(),
        said: None,
        least_ms: 0,
        counted: Vec::new(),
    }
}

impl Ask {
    /// With a request header, `name: value`.
    pub(crate) fn with(mut self, header: &'static str) -> Self {
        self.args.extend(["-H", header]);
        self
    }

    /// By another method.
    pub(crate) fn by(mut self, method: &'static str) -> Self {
        self.args.extend(["-X", method]);
        self
    }

    /// With this body.
    pub(crate) fn body(mut self, body: &'static str) -> Self {
        self.args.extend(["--body", body]);
        self
    }

    /// Only once.
    pub(crate) fn once(mut self) -> Self {
        self.requests = 1;
        self
    }

    /// All are answered by this version.
    pub(crate) fn from(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// All are answered with this status.
    pub(crate) fn is(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Every answer has this header; an empty value: has it not.
    pub(crate) fn carries(mut self, header: &'static str, value: &'static str) -> Self {
        self.headers.push((header, value));
        self
    }

    /// The answer's body; once.
    pub(crate) fn says(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self.once()
    }

    /// What the app received: a JSON pointer into its echo, and the text there; once.
    pub(crate) fn app_saw(mut self, pointer: &'static str, text: &'static str) -> Self {
        self.seen.push((pointer, Some(text)));
        self.once()
    }

    /// What the app did not receive; once.
    pub(crate) fn app_missed(mut self, pointer: &'static str) -> Self {
        self.seen.push((pointer, None));
        self.once()
    }

    /// Flags and details of every access line.
    pub(crate) fn logged(mut self, flags: &'static str, details: &'static str) -> Self {
        self.said = Some((flags, details));
        self
    }

    /// Every access line says that it took at least this many milliseconds.
    pub(crate) fn lasting(mut self, milliseconds: u64) -> Self {
        self.least_ms = milliseconds;
        self
    }

    /// Afterwards `version` has counted `n` requests under `key`.
    pub(crate) fn counts(mut self, version: &'static str, key: &'static str, n: u64) -> Self {
        self.counted.push((version, key, n));
        self
    }

    async fn run(&self, stage: &Stage, id: &str) -> Result<Vec<String>> {
        let n = self.requests.to_string();
        let (url, header) = (
            format!("{REVIEWS}{}", self.path),
            format!("x-request-id: {id}"),
        );
        let mut args = vec![
            "-n",
            &n,
            "-c",
            "2",
            "-H",
            &header,
            "--count-header",
            VERSION,
        ];
        args.extend(&self.args);
        for (name, _) in self.headers.iter().filter(|(name, _)| *name != VERSION) {
            args.extend(["--count-header", name]);
        }
        args.push(&url);
        let answers = stage.client(&args).await?;
        let mut wrong = self.judge(&answers);
        if self.said.is_some() || self.least_ms > 0 {
            let lines = stage
                .access_lines(id, usize::try_from(self.requests)?)
                .await;
            match lines {
                Ok(lines) => wrong.extend(lines.iter().filter_map(|line| self.judge_line(line))),
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
        for (version, key, n) in &self.counted {
            let counted = ambit_harness::until("counted requests", crate::stage::SOON, || async {
                match stage.counted(version, key).await {
                    Ok(count) if count >= *n => Ok(count),
                    other => Err(other),
                }
            });
            match counted.await {
                Ok(count) if count == *n => {}
                other => wrong.push(format!("{version} counted {other:?} of {key}, not {n}")),
            }
        }
        Ok(wrong)
    }

    fn judge(&self, answers: &HttpSummary) -> Vec<String> {
        let mut wrong = Vec::new();
        let n = self.requests;
        if answers.statuses.get(&self.status) != Some(&n) {
            let (got, errors) = (&answers.statuses, &answers.errors);
            wrong.push(format!(
                "statuses {got:?} {errors:?}, not {n} × {}",
                self.status
            ));
        }
        let version = self.version.map(|version| (VERSION, version));
        for (name, value) in version.iter().chain(&self.headers) {
            if answers.header(name, value) != n {
                wrong.push(format!(
                    "{name}: {:?}, not {n} × {value:?}",
                    answers.headers.get(*name)
                ));
            }
        }
        let body = answers.body.as_deref().unwrap_or_default();
        if self.body.is_some_and(|expected| expected != body) {
            wrong.push(format!("body {body:?}, not {:?}", self.body));
        }
        let echo: Value = serde_json::from_str(body).unwrap_or_default();
        for (pointer, expected) in &self.seen {
            let seen = echo.pointer(pointer).and_then(Value::as_str);
            if echo.is_null() || seen != *expected {
                wrong.push(format!(
                    "the app saw {seen:?} at {pointer}, not {expected:?}: {body}"
                ));
            }
        }
        wrong
    }

    fn judge_line(&self, line: &AccessLine) -> Option<String> {
        let said = self
            .said
            .is_none_or(|said| said == (line.flags.as_str(), line.details.as_str()));
        let right = line.code == self.status && said && line.duration_ms >= self.least_ms;
        (!right).then(|| format!("{line:?}, not {:?} and {} ms", self.said, self.least_ms))
    }
}

/// Runs all; the failures of all.
pub(crate) async fn run(stage: &Stage, cases: Vec<Case>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(error) = stage.rules(case.name, &case.http).await {
            wrong.push(format!("{}: {error:#}", case.name));
            continue;
        }
        for (i, ask) in case.asks.iter().enumerate() {
            let id = format!("{}-{i}", case.name);
            let found = ask.run(stage, &id).await?;
            wrong.extend(found.into_iter().map(|w| format!("{id} {}: {w}", ask.path)));
        }
    }
    Ok(wrong)
}
