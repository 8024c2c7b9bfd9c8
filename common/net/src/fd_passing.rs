//! Messages with descriptors over SEQPACKET unix sockets.
//! In: bytes and borrowed descriptors. Out: bytes and owned descriptors, close-on-exec.
//! Owns: the socket; received descriptors until the caller takes them.
//! Must not happen here: a leaked descriptor, or a truncated message taken for a whole one.
//! Spec: unix(7), `SCM_RIGHTS`; the kernel passes at most 253 descriptors a message (`SCM_MAX_FD`).

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most descriptors in one message.
pub const MAX_FDS: usize = 253;

/// One end of a connected SEQPACKET socket: message boundaries are kept.
#[derive(Debug)]
pub struct SeqPacket {
    fd: AsyncFd<OwnedFd>,
}

/// A listening SEQPACKET socket; its file is removed when it is dropped, unless another took its place.
#[derive(Debug)]
pub struct SeqListener {
    fd: AsyncFd<OwnedFd>,
    path: PathBuf,
    inode: u64,
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// More than [`MAX_FDS`] descriptors.
    #[error("{given} descriptors in one message, at most {MAX_FDS} are possible")]
    TooManyFds {
        /// How many were given.
        given: usize,
    },
    /// The socket failed.
    #[error("cannot send")]
    Io(#[source] io::Error),
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// The message is longer than the buffer; what came of it is dropped.
    #[error("message longer than {limit} bytes")]
    Truncated {
        /// Size of the buffer.
        limit: usize,
    },
    /// Not all descriptors could be taken over (too many, or the process is at its limit); those that came are closed.
    #[error("descriptors of a message were lost")]
    LostFds,
    /// The socket failed.
    #[error("cannot receive")]
    Io(#[source] io::Error),
}

impl SeqPacket {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    /// As connect(2); `WouldBlock` if the listener's queue is full.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let fd = seqpacket_socket()?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        Self::from_fd(fd)
    }

    /// Two connected ends.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        Ok((Self::from_fd(a)?, Self::from_fd(b)?))
    }

    /// Takes a connected, non-blocking socket.
    ///
    /// # Errors
    /// The descriptor cannot be registered with the runtime.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: watched(fd)? })
    }

    /// Sends one message. The descriptors are duplicated by the kernel; the caller keeps its own.
    /// `bytes` must not be empty when descriptors are sent.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        if fds.len() > MAX_FDS {
            return Err(SendError::TooManyFds { given: fds.len() });
        }
        self.fd
            .async_io(Interest::WRITABLE, |fd| send_now(fd.as_fd(), bytes, fds))
            .await
            .map_err(SendError::Io)
    }

    /// Receives one message into `buffer`. `Ok((0, []))` means the peer closed.
    ///
    /// # Errors
    /// See [`RecvError`]; descriptors of a message that fails are closed.
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), RecvError> {
        let limit = buffer.len();
        let message = self
            .fd
            .async_io(Interest::READABLE, |fd| recv_now(fd.as_fd(), buffer))
            .await
            .map_err(RecvError::Io)?;
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(RecvError::LostFds);
        }
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(RecvError::Truncated { limit });
        }
        Ok((message.bytes, message.fds))
    }
}

impl AsFd for SeqPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl SeqListener {
    /// Listens at `path`, readable by the owner only. An older socket file there is replaced in one
    /// step, so that a client finds either the old or the new listener.
    ///
    /// # Errors
    /// As bind(2), chmod(2) and rename(2).
    pub fn bind(path: &Path) -> io::Result<Self> {
        let staging = staging_path(path);
        match fs::remove_file(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let fd = seqpacket_socket()?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(&staging)?)?;
        let ready = fs::set_permissions(&staging, fs::Permissions::from_mode(0o600))
            .and_then(|()| Ok(rustix::net::listen(&fd, BACKLOG)?))
            .and_then(|()| fs::rename(&staging, path));
        if let Err(error) = ready {
            fs::remove_file(&staging)?;
            return Err(error);
        }
        Ok(Self {
            fd: watched(fd)?,
            path: path.to_owned(),
            inode: inode_of(path)?,
        })
    }

    /// Waits for the next client.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<SeqPacket> {
        let fd = self
            .fd
            .async_io(Interest::READABLE, |fd| {
                Ok(rustix::net::accept_with(fd, FLAGS)?)
            })
            .await?;
        SeqPacket::from_fd(fd)
    }
}

impl Drop for SeqListener {
    fn drop(&mut self) {
        if inode_of(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Nothing can be done about a file that does not go; the next bind replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct Message {
    bytes: usize,
    flags: ReturnFlags,
    fds: Vec<OwnedFd>,
}

fn seqpacket_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        FLAGS,
        None,
    )?)
}

fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

fn send_now(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "the space is that of MAX_FDS");
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    debug_assert_eq!(sent, bytes.len(), "SEQPACKET sends whole messages");
    Ok(())
}

fn recv_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Message> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(Message {
        bytes: received.bytes,
        flags: received.flags,
        fds,
    })
}

fn staging_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

fn inode_of(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::symlink_metadata(path)?.ino())
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
const BACKLOG: i32 = 16;

#[cfg(test)]
mod tests;
