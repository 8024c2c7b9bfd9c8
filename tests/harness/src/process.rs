//! Processes of the lab.
//! In: a [`Spec`]. Out: a [`Process`] that can be awaited and killed, output in its log file.
//! Owns: the one thread every process is started from. The kernel's parent death signal fires when the
//! *thread* that started a process ends, so it must be a thread that lives as long as the lab.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::launch::Place;

/// Why a process did not start.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// Its log file cannot be opened.
    #[error("log file {path}")]
    Log {
        /// The file
        path: PathBuf,
        /// Why
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot start {program}")]
    Start {
        /// What was to run
        program: String,
        /// Why
        #[source]
        source: io::Error,
    },
    /// A built program is missing.
    #[error("{path} is not built")]
    NotBuilt {
        /// Where it was looked for
        path: PathBuf,
    },
    /// The lab is going down.
    #[error("the lab is going down")]
    Down,
}

/// What to run, where.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Program: a path, or a name looked up in `PATH`
    pub program: PathBuf,
    /// Arguments
    pub args: Vec<OsString>,
    /// The whole environment, beside `PATH`
    pub env: Vec<(String, String)>,
    /// Namespaces and cgroup
    pub place: Place,
    /// Where output goes
    pub output: Output,
}

/// Where a process writes.
#[derive(Clone, Debug, Default)]
pub enum Output {
    /// Appended to this file
    Log(PathBuf),
    /// Kept for the caller; standard input is a pipe too
    #[default]
    Piped,
    /// The lab's own terminal, input and process group included
    Inherit,
}

impl Spec {
    /// `program` with `args`.
    pub fn new<I, S>(program: impl Into<PathBuf>, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Adds environment variables.
    #[must_use]
    pub fn env<K: Into<String>, V: Into<String>>(
        mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env
            .extend(vars.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Sets where to run.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Appends output to `log`.
    #[must_use]
    pub fn log(mut self, log: PathBuf) -> Self {
        self.output = Output::Log(log);
        self
    }
}

/// A started process and its group.
#[derive(Debug)]
pub struct Process {
    /// The child; its pipes are here if they were asked for
    pub child: Child,
    pid: Pid,
}

impl Process {
    /// Process id, also the id of its group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends `signal` to the whole group; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        // Its own child, not waited for yet: the id cannot belong to somebody else.
        if self.child.id().is_some() {
            let _ = killpg(self.pid, signal);
        }
    }

    /// Kills the group and waits until the process is gone.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait().await;
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

struct Request {
    spec: Spec,
    reply: oneshot::Sender<Result<Process, SpawnError>>,
}

/// Starts processes; clones share the thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::SyncSender<Request>,
    launcher: PathBuf,
}

impl Spawner {
    /// Starts the thread. `launcher` is the `ambit-lab` program. Must be called on a tokio runtime, which
    /// then watches the processes.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(launcher: PathBuf) -> io::Result<Self> {
        let (requests, inbox) = mpsc::sync_channel::<Request>(64);
        let runtime = tokio::runtime::Handle::current();
        let program = launcher.clone();
        std::thread::Builder::new()
            .name("lab-spawner".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                while let Ok(request) = inbox.recv() {
                    let started = spawn(&program, &request.spec);
                    // The caller gave up: the process must not outlive that.
                    if let Err(Ok(process)) = request.reply.send(started) {
                        process.signal(Signal::SIGKILL);
                    }
                }
            })?;
        Ok(Self { requests, launcher })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn(&self, spec: Spec) -> Result<Process, SpawnError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .try_send(Request { spec, reply })
            .map_err(|_| SpawnError::Down)?;
        answer.await.map_err(|_| SpawnError::Down)?
    }

    /// The `ambit-lab` program itself, for its own subcommands.
    pub fn launcher(&self) -> &Path {
        &self.launcher
    }
}

fn spawn(launcher: &Path, spec: &Spec) -> Result<Process, SpawnError> {
    if spec.program.is_absolute() && !spec.program.exists() {
        return Err(SpawnError::NotBuilt {
            path: spec.program.clone(),
        });
    }
    let mut command = Command::new(launcher);
    command
        .arg("launch")
        .arg("--parent")
        .arg(std::process::id().to_string());
    for (flag, value) in [
        ("--netns", &spec.place.netns),
        ("--cgroup", &spec.place.cgroup),
        ("--resolv", &spec.place.resolv),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    command.arg("--").arg(&spec.program).args(&spec.args);
    command
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .envs(spec.env.iter().map(|(k, v)| (k, v)));
    match &spec.output {
        Output::Log(path) => {
            let log = open_log(path)?;
            let copy = log.try_clone().map_err(|source| SpawnError::Log {
                path: path.clone(),
                source,
            })?;
            command
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(copy)
                .process_group(0);
        }
        Output::Piped => {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0);
        }
        Output::Inherit => {}
    }
    let start = |source| SpawnError::Start {
        program: spec.program.display().to_string(),
        source,
    };
    let child = command.kill_on_drop(true).spawn().map_err(start)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = id.ok_or_else(|| start(io::Error::other("no process id")))?;
    Ok(Process {
        child,
        pid: Pid::from_raw(pid),
    })
}

fn open_log(path: &Path) -> Result<File, SpawnError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| SpawnError::Log {
            path: path.to_owned(),
            source,
        })
}

const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
