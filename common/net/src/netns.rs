//! Network namespaces: a handle, its identity, and entering one for the length of a closure.
//! In: a path, a descriptor or the calling thread's own namespace. Out: [`Netns`].
//! Owns: one descriptor per handle, and a cached descriptor of each thread's home namespace.
//! Must not happen here: a thread left in a foreign namespace. If coming home fails, the process aborts.
//! Spec: setns(2), namespaces(7), `SO_NETNS_COOKIE` (Linux 5.14).

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

/// A network namespace kept alive by a descriptor.
///
/// Threads may change their namespace only through [`Netns::enter`]: the first call on a thread
/// remembers where that thread is at home.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: NsInode,
}

/// Device and inode number of a namespace file: equal for two handles of the same namespace.
/// Numbers are reused after a namespace is gone; [`Netns::cookie`] is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NsInode {
    /// `st_dev` of the nsfs file.
    pub dev: u64,
    /// `st_ino` of the nsfs file.
    pub ino: u64,
}

/// Why a namespace cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenNetnsError {
    /// The file cannot be opened.
    #[error("cannot open network namespace {path}")]
    Open {
        /// What was opened.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A new one cannot be made.
    #[error("cannot make a network namespace")]
    Make(#[source] io::Error),
    /// The descriptor is not a network namespace.
    #[error("the descriptor is not a network namespace")]
    NotNetns {
        /// What the kernel said, if it said something.
        #[source]
        source: Option<io::Error>,
    },
}

impl Netns {
    /// The calling thread's namespace.
    ///
    /// # Errors
    /// [`OpenNetnsError::Open`] if `/proc` is not mounted.
    pub fn current() -> Result<Self, OpenNetnsError> {
        Self::open(Path::new(THREAD_NETNS))
    }

    /// A new, empty namespace without a name: gone with its last handle, socket and process.
    /// Made on a thread of its own, so that the caller stays where it is.
    ///
    /// # Errors
    /// [`OpenNetnsError::Make`], usually for lack of privileges.
    pub fn make() -> Result<Self, OpenNetnsError> {
        let made = std::thread::Builder::new().name("netns".into()).spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| OpenNetnsError::Make(errno.into()))?;
            Self::current()
        });
        made.map_err(OpenNetnsError::Make)?
            .join()
            .unwrap_or_else(|_| {
                Err(OpenNetnsError::Make(io::Error::other(
                    "the thread panicked",
                )))
            })
    }

    /// The namespace behind a file such as `/proc/1/ns/net` or `/run/netns/x`.
    ///
    /// # Errors
    /// See [`OpenNetnsError`].
    pub fn open(path: &Path) -> Result<Self, OpenNetnsError> {
        let file = File::open(path).map_err(|source| OpenNetnsError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::from_fd(file.into())
    }

    /// Takes a received descriptor. The sender is not trusted: anything but a network namespace is refused.
    ///
    /// # Errors
    /// [`OpenNetnsError::NotNetns`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenNetnsError> {
        // SAFETY: NS_GET_NSTYPE takes no argument and writes nothing; the descriptor is open.
        let kind = unsafe { libc::ioctl(fd.as_raw_fd(), libc::NS_GET_NSTYPE) };
        if kind < 0 {
            return Err(OpenNetnsError::NotNetns {
                source: Some(io::Error::last_os_error()),
            });
        }
        if kind != libc::CLONE_NEWNET {
            return Err(OpenNetnsError::NotNetns { source: None });
        }
        let stat = nix::sys::stat::fstat(&fd).map_err(|errno| OpenNetnsError::NotNetns {
            source: Some(errno.into()),
        })?;
        Ok(Self {
            fd,
            inode: NsInode {
                dev: stat.st_dev,
                ino: stat.st_ino,
            },
        })
    }

    /// A second handle of the same namespace.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            inode: self.inode,
        })
    }

    /// Which namespace file this is.
    pub fn inode(&self) -> NsInode {
        self.inode
    }

    /// The kernel's cookie of the namespace: unique over the life of the machine.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the kernel is older than 5.14.
    pub fn cookie(&self) -> io::Result<u64> {
        self.enter(probe_cookie)?
    }

    /// Runs `job` with the calling thread inside the namespace, then comes back; also when it panics.
    /// The job must not await, and must not change the namespace other than by `enter`.
    ///
    /// # Errors
    /// The namespace cannot be entered; the job has not run then.
    pub fn enter<T>(&self, job: impl FnOnce() -> T) -> io::Result<T> {
        let back = current_fd()?;
        enter_fd(self.fd.as_raw_fd())?;
        let _home = Return { to: back };
        Ok(job())
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Brings the thread back when dropped.
struct Return {
    to: RawFd,
}

impl Drop for Return {
    fn drop(&mut self) {
        if enter_fd(self.to).is_err() {
            // Every later socket of this thread would be made in somebody's pod.
            std::process::abort();
        }
    }
}

thread_local! {
    static HOME: OnceCell<OwnedFd> = const { OnceCell::new() };
    static INSIDE: std::cell::Cell<Option<RawFd>> = const { std::cell::Cell::new(None) };
}

const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// The descriptor of the namespace the thread is in: that of an outer `enter`, else its home.
fn current_fd() -> io::Result<RawFd> {
    if let Some(fd) = INSIDE.get() {
        return Ok(fd);
    }
    HOME.with(|home| {
        if let Some(fd) = home.get() {
            return Ok(fd.as_raw_fd());
        }
        let fd = File::open(THREAD_NETNS)?.into();
        Ok(home.get_or_init(|| fd).as_raw_fd())
    })
}

fn enter_fd(fd: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is that of a `Netns` borrowed by the caller or of this thread's HOME,
    // both open until the call returns.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    setns(borrowed, CloneFlags::CLONE_NEWNET)?;
    let home = HOME.with(|home| home.get().map(AsRawFd::as_raw_fd));
    INSIDE.set((home != Some(fd)).then_some(fd));
    Ok(())
}

fn probe_cookie() -> io::Result<u64> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    socket_cookie(socket.as_fd())
}

/// The cookie of the namespace that a socket belongs to.
///
/// # Errors
/// Not a socket, or the kernel is older than 5.14.
pub fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).expect("8 fits");
    // SAFETY: `cookie` and `len` outlive the call and have the sizes the kernel is told.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// Linux 5.14, asm-generic/socket.h; the same number on all architectures we build for.
const SO_NETNS_COOKIE: libc::c_int = 71;

#[cfg(test)]
mod tests;
