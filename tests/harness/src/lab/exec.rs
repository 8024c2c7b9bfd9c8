//! Running programs in pods and nodes.
//! In: a pod or node, a command line. Out: its output, or the running process.
//! A pod's command joins the pod's cgroup and namespace and sees its resolver: to the mesh it is the pod.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;

use super::Lab;
use crate::client::{HttpSummary, TcpSummary};
use crate::launch::Place;
use crate::process::{Process, SpawnError, Spec};

/// Longest a command may run.
const LIMIT: Duration = Duration::from_secs(120);

/// Why a command gave no result.
#[derive(Debug, Error)]
pub enum ExecError {
    /// No such pod, or it has no sandbox yet.
    #[error("pod {namespace}/{pod} does not run")]
    NoPod {
        /// Namespace
        namespace: String,
        /// Name
        pod: String,
    },
    /// Not started.
    #[error("command in a pod")]
    Spawn(#[from] SpawnError),
    /// Pipes or waiting.
    #[error("command in a pod")]
    Io(#[from] std::io::Error),
    /// Too long.
    #[error("no end within {LIMIT:?}: {0}")]
    Timeout(String),
    /// A client printed something else than its summary.
    #[error("no summary in the output of a client ({status}): {stdout:?} {stderr:?}")]
    Summary {
        /// How it ended
        status: ExitStatus,
        /// What it printed
        stdout: String,
        /// What it complained about
        stderr: String,
    },
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended
    pub status: ExitStatus,
    /// Standard output
    pub stdout: String,
    /// Standard error
    pub stderr: String,
}

impl Output {
    /// The JSON on the last line of standard output.
    ///
    /// # Errors
    /// [`ExecError::Summary`].
    pub fn summary<T: DeserializeOwned>(&self) -> Result<T, ExecError> {
        let line = self.stdout.lines().next_back().unwrap_or_default();
        serde_json::from_str(line).map_err(|_| ExecError::Summary {
            status: self.status,
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
        })
    }
}

impl Lab {
    /// Where processes of a pod run.
    ///
    /// # Errors
    /// [`ExecError::NoPod`].
    pub fn place(&self, namespace: &str, pod: &str) -> Result<Place, ExecError> {
        let pods = self.pods.borrow();
        pods.get(&(namespace.to_owned(), pod.to_owned()))
            .map(|entry| entry.place.clone())
            .filter(|place| place.netns.is_some())
            .ok_or_else(|| ExecError::NoPod {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
            })
    }

    /// Starts a command in a pod; its pipes are the caller's.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn start_in<I, S>(
        &self,
        namespace: &str,
        pod: &str,
        command: I,
    ) -> Result<Process, ExecError>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let mut words = command.into_iter().map(Into::into);
        let program = words.next().unwrap_or_default();
        // Every image has the sample's own clients.
        let program = if program == "bookinfo" {
            self.programs.join("bookinfo").into()
        } else {
            program
        };
        let spec = Spec::new(program, words).at(self.place(namespace, pod)?);
        Ok(self.spawner.spawn(spec).await?)
    }

    /// Runs a command in a pod to its end.
    ///
    /// # Errors
    /// [`ExecError`]; an exit code other than 0 is a result.
    pub async fn exec<I, S>(
        &self,
        namespace: &str,
        pod: &str,
        command: I,
    ) -> Result<Output, ExecError>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        finish(self.start_in(namespace, pod, command).await?).await
    }

    /// Runs a program of the lab's directory of programs at any place to its end.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn run(&self, spec: Spec) -> Result<Output, ExecError> {
        finish(self.spawner.spawn(spec).await?).await
    }

    /// `bookinfo client` in a pod.
    ///
    /// # Errors
    /// [`ExecError`]; failed requests are in the summary.
    pub async fn http(
        &self,
        namespace: &str,
        pod: &str,
        args: &[&str],
    ) -> Result<HttpSummary, ExecError> {
        let command = ["bookinfo", "client"].iter().chain(args);
        self.exec(namespace, pod, command).await?.summary()
    }

    /// `bookinfo tcp` in a pod.
    ///
    /// # Errors
    /// [`ExecError`]; broken connections are in the summary.
    pub async fn tcp(
        &self,
        namespace: &str,
        pod: &str,
        to: SocketAddr,
        args: &[&str],
    ) -> Result<TcpSummary, ExecError> {
        let to = to.to_string();
        let command = ["bookinfo", "tcp", &to]
            .into_iter()
            .chain(args.iter().copied());
        self.exec(namespace, pod, command).await?.summary()
    }
}

/// Waits for the end of a process with piped output.
///
/// # Errors
/// [`ExecError::Timeout`] kills it.
pub async fn finish(mut process: Process) -> Result<Output, ExecError> {
    drop(process.child.stdin.take());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (out, err) = (process.child.stdout.take(), process.child.stderr.take());
    let whole = async {
        let read_out = async {
            match out {
                Some(mut pipe) => pipe.read_to_string(&mut stdout).await,
                None => Ok(0),
            }
        };
        let read_err = async {
            match err {
                Some(mut pipe) => pipe.read_to_string(&mut stderr).await,
                None => Ok(0),
            }
        };
        tokio::try_join!(read_out, read_err)?;
        process.wait().await
    };
    match tokio::time::timeout(LIMIT, whole).await {
        Ok(status) => Ok(Output {
            status: status?,
            stdout,
            stderr,
        }),
        Err(_) => {
            process.kill().await;
            Err(ExecError::Timeout(format!("{stdout}{stderr}")))
        }
    }
}
