//! What crosses the link between nodes.
//! In: every frame that enters the core's bridge from a node. Out: counts: frames, occurrences of a
//! marker, bytes from and to a TCP port.
//! Owns: a packet socket in the core's namespace and the thread that reads it.
//! Spec: packet(7).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};

use crate::families::CORE_ADDRESS_V6;
use crate::names::CORE_ADDRESS;
use crate::netns;

/// A frame that was sent from here, not received (`linux/if_packet.h`).
const PACKET_OUTGOING: u8 = 4;
/// Largest frame: what segmentation offload hands over.
const FRAME: usize = 70_000;
/// Bytes of frames the kernel may hold for us.
const QUEUE: usize = 64 << 20;
/// How long the reader waits for a frame before it looks at its stop flag again.
const LOOK_UP: u8 = 20;

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames between nodes
    pub frames: u64,
    /// Occurrences of the marker in frames
    pub marker: u64,
    /// TCP payload bytes from or to port 15008
    pub hbone_bytes: u64,
    /// TCP payload bytes from or to any other port
    pub other_bytes: u64,
    /// Of all of those, the ones over IPv6
    pub ipv6_bytes: u64,
}

/// A running capture; ends when dropped.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts counting `marker` on the frames that enter the namespace by the interfaces `ports`.
    ///
    /// # Errors
    /// The kernel's, or a namespace or interface that is not there.
    pub fn start(core: &Path, ports: &[String], marker: &str) -> io::Result<Self> {
        let names: Vec<String> = ports.to_vec();
        let opened = netns::inside(core, move || open(&names)).map_err(io::Error::other)?;
        let (fd, interfaces) = opened?;
        let shared = Arc::new(Shared::default());
        let (reader, marker) = (shared.clone(), marker.as_bytes().to_vec());
        let thread = std::thread::Builder::new()
            .name("lab-wire".to_owned())
            .spawn(move || read(&fd, &interfaces, &marker, &reader))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What was seen up to now: everything that had crossed when this was called.
    pub fn seen(&self) -> Seen {
        let before = self.shared.emptied.load(Ordering::Acquire);
        let alive = || {
            self.thread
                .as_ref()
                .is_some_and(|thread| !thread.is_finished())
        };
        while self.shared.emptied.load(Ordering::Acquire) < before + 2 && alive() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.shared.counts().clone()
    }
}

/// What the reader and the owner of a capture share.
#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    stop: AtomicBool,
    /// How often the reader has found nothing left to read.
    emptied: AtomicU64,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(fd: &OwnedFd, interfaces: &[usize], marker: &[u8], shared: &Shared) {
    let mut frame = vec![0; FRAME];
    while !shared.stop.load(Ordering::Relaxed) {
        match recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame) {
            Ok((n, Some(from))) => {
                if from.pkttype() != PACKET_OUTGOING && interfaces.contains(&from.ifindex()) {
                    count(&mut shared.counts(), &frame[..n.min(FRAME)], marker);
                }
            }
            Ok((_, None)) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                shared.emptied.fetch_add(1, Ordering::Release);
                let mut wait = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut wait, LOOK_UP);
            }
            Err(_) => return,
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(ports: &[String]) -> io::Result<(OwnedFd, Vec<usize>)> {
    let indices = ports
        .iter()
        .map(|name| nix::net::if_::if_nametoindex(name.as_str()).map(|index| index as usize))
        .collect::<Result<Vec<_>, _>>()?;
    let fd = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::EthAll,
    )?;
    setsockopt(&fd, sockopt::RcvBufForce, &QUEUE)?;
    Ok((fd, indices))
}

fn count(seen: &mut Seen, frame: &[u8], marker: &[u8]) {
    if to_core(frame) {
        return;
    }
    seen.frames += 1;
    if !marker.is_empty() {
        seen.marker += frame
            .windows(marker.len())
            .filter(|window| *window == marker)
            .count() as u64;
    }
    if let Some(segment) = Segment::parse(frame) {
        if segment.ports.contains(&15008) {
            seen.hbone_bytes += segment.payload as u64;
        } else {
            seen.other_bytes += segment.payload as u64;
        }
        if frame.get(12..14) == Some(&IPV6) {
            seen.ipv6_bytes += segment.payload as u64;
        }
    }
}

/// Whether a frame is to the core itself: configuration and certificates, not traffic between nodes.
fn to_core(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some(kind) if kind == IPV4 => frame.get(30..34) == Some(&CORE_ADDRESS.octets()),
        Some(kind) if kind == IPV6 => frame.get(38..54) == Some(&CORE_ADDRESS_V6.octets()),
        _ => false,
    }
}

/// The few fields of a TCP segment in an Ethernet frame that counting needs.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    ports: [u16; 2],
    payload: usize,
}

impl Segment {
    fn parse(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let (header, length) = match (frame.get(12..14)?, *ip.first()? >> 4) {
            (kind, 4) if kind == IPV4 && *ip.get(9)? == TCP => {
                (usize::from(ip[0] & 0x0f) * 4, be16(ip, 2)?)
            }
            // Extension headers do not occur: nothing in a lab sends them with TCP.
            (kind, 6) if kind == IPV6 && *ip.get(6)? == TCP => match be16(ip, 4)? {
                0 => (40, 0),
                payload => (40, payload + 40),
            },
            _ => return None,
        };
        // A segment larger than 64 KiB has length 0.
        let total = if length == 0 {
            ip.len()
        } else {
            length.min(ip.len())
        };
        let tcp = ip.get(header..total)?;
        let offset = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            ports: [
                u16::from_be_bytes([tcp[0], tcp[1]]),
                u16::from_be_bytes([tcp[2], tcp[3]]),
            ],
            payload: tcp.len().checked_sub(offset)?,
        })
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    let two = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([two[0], two[1]])))
}

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8], port: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        let mut ip = vec![0; 20];
        ip[0] = 0x45;
        ip[9] = 6;
        ip[2..4].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        ip[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let mut tcp = vec![0; 20];
        tcp[0..2].copy_from_slice(&40000_u16.to_be_bytes());
        tcp[2..4].copy_from_slice(&port.to_be_bytes());
        tcp[12] = 5 << 4;
        frame.extend(ip);
        frame.extend(tcp);
        frame.extend(payload);
        frame
    }

    #[test]
    fn payload_is_counted_by_port_and_the_marker_wherever_it_is() {
        let mut seen = Seen::default();
        count(&mut seen, &frame(b"xx marker marker", 9080), b"marker");
        count(&mut seen, &frame(b"0123456789", 15008), b"marker");
        let mut configuration = frame(b"marker", 15012);
        configuration[30..34].copy_from_slice(&CORE_ADDRESS.octets());
        count(&mut seen, &configuration, b"marker");
        // Padding of short frames is no payload.
        let mut padded = frame(b"", 15008);
        padded.extend([0; 6]);
        count(&mut seen, &padded, b"marker");
        assert_eq!(
            seen,
            Seen {
                frames: 3,
                marker: 2,
                hbone_bytes: 10,
                other_bytes: 16,
                ipv6_bytes: 0
            }
        );
    }

    fn frame6(payload: &[u8], to: std::net::Ipv6Addr) -> Vec<u8> {
        let v4 = frame(payload, 15008);
        let mut frame = vec![0; 12];
        frame.extend(IPV6);
        let mut ip = vec![0; 40];
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        ip[6] = TCP;
        ip[24..40].copy_from_slice(&to.octets());
        frame.extend(ip);
        frame.extend(&v4[34..]);
        frame
    }

    #[test]
    fn ipv6_is_counted_as_ipv4_is() {
        let mut seen = Seen::default();
        let node = "fd00:10:244::2".parse().unwrap();
        count(&mut seen, &frame6(b"a marker", node), b"marker");
        count(&mut seen, &frame6(b"marker", CORE_ADDRESS_V6), b"marker");
        let expected = Seen {
            frames: 1,
            marker: 1,
            hbone_bytes: 8,
            other_bytes: 0,
            ipv6_bytes: 8,
        };
        assert_eq!(seen, expected);
        let whole = frame6(b"payload", node);
        for n in 0..whole.len() {
            let _ = Segment::parse(&whole[..n]);
        }
    }

    #[test]
    fn any_cut_off_frame_is_no_segment_and_no_panic() {
        let whole = frame(b"payload", 15008);
        for n in 0..whole.len() {
            let _ = Segment::parse(&whole[..n]);
        }
        assert_eq!(Segment::parse(&[0xff; 80]), None);
    }
}
