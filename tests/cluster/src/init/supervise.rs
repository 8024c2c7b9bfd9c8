//! Programs of one part, kept running.
//! In: programs. Out: their processes; one that ends is started again, later each time.
//! Owns: every child of this process, also those that containers leave behind.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::progress::say;

/// Pauses before a start: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How often ended children are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A program and how it is called.
pub(super) struct Program {
    /// Name of its log
    pub(super) name: &'static str,
    pub(super) file: PathBuf,
    pub(super) arguments: Vec<String>,
}

struct Child {
    program: Program,
    pid: Option<Pid>,
    due: Instant,
    pause: Duration,
}

/// Keeps programs running.
pub(super) struct Supervisor {
    logs: PathBuf,
    children: Vec<Child>,
}

impl Supervisor {
    pub(super) fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            children: Vec::new(),
        }
    }

    /// Starts a program and from now on keeps it running.
    pub(super) fn start(&mut self, program: Program) -> Result<()> {
        let pid = spawn(&self.logs, &program)?;
        self.children.push(Child {
            program,
            pid: Some(pid),
            due: Instant::now(),
            pause: PAUSES.0,
        });
        Ok(())
    }

    /// Looks after the programs until `done`.
    pub(super) fn until(&mut self, mut done: impl FnMut() -> bool) {
        while !done() {
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    /// Looks after the programs for ever.
    pub(super) fn forever(&mut self) -> ! {
        loop {
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    fn look(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(status) => self.ended(status),
                Err(_) => {}
            }
        }
        for child in self
            .children
            .iter_mut()
            .filter(|c| c.pid.is_none() && c.due <= Instant::now())
        {
            match spawn(&self.logs, &child.program) {
                Ok(pid) => child.pid = Some(pid),
                Err(error) => {
                    say(&format!("{error:#}"));
                    child.due = Instant::now() + PAUSES.1;
                }
            }
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        let Some(child) = self
            .children
            .iter_mut()
            .find(|c| c.pid.is_some() && c.pid == status.pid())
        else {
            return;
        };
        say(&format!(
            "{} ended ({status:?}), starting again in {:?}",
            child.program.name, child.pause
        ));
        child.pid = None;
        child.due = Instant::now() + child.pause;
        child.pause = (child.pause * 2).min(PAUSES.1);
    }
}

fn spawn(logs: &std::path::Path, program: &Program) -> Result<Pid> {
    let path = logs.join(format!("{}.log", program.name));
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| path.display().to_string())?;
    let child = Command::new(&program.file)
        .args(&program.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share a log")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", program.file.display()))?;
    Ok(Pid::from_raw(
        i32::try_from(child.id()).context("a process number")?,
    ))
}
