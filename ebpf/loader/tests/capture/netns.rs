//! Network namespaces, and threads in them.
//!
//! In: a name. Out: closures run inside. Owns the namespace; dropping removes it.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

pub(crate) struct Netns {
    pub(crate) name: String,
    file: File,
}

impl Netns {
    pub(crate) fn new(name: String) -> Self {
        ip(&["netns", "add", &name]);
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name, file }
    }

    /// Runs `ip` inside; words are separated by spaces.
    pub(crate) fn ip(&self, command: &str) {
        let mut words = vec!["-n", &self.name];
        words.extend(command.split(' '));
        ip(&words);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Runs in a thread of its own, with `prepare` before the namespace is entered.
    pub(crate) fn run<T: Send>(
        &self,
        prepare: impl FnOnce() + Send,
        body: impl FnOnce() -> T + Send,
    ) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                prepare();
                setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.run(|| (), || std::fs::write(path, value).unwrap());
    }

    pub(crate) fn cookie(&self) -> u64 {
        self.run(
            || (),
            || {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                crate::sockets::netns_cookie(&socket)
            },
        )
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

pub(crate) fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(
        output.status.success(),
        "ip {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
