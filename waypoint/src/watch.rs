//! Watches what a client does on one connection: how long it takes over a head, how long it is idle,
//! and whether an HTTP/1.1 head frames its body twice.
//! In: bytes as they are read, requests as they begin and end. Out: [`Overdue`] when a limit has
//! passed; a flag per head. The first byte of a head starts its clock, silence between requests
//! does not.
//! A head that came together with the one before it is judged by the library alone, which goes by
//! `Transfer-Encoding` and closes.
//! Owns: nothing of the connection. Must not: delay or change a byte.
//! Spec: RFC 9112 sections 6.1 and 6.3 (request smuggling).

use crate::limits::Limits;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Which limit has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// A head was begun and not finished.
    Head,
    /// Nothing was asked.
    Idle,
}

/// What the client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Head,
    /// Requests are being served.
    Waiting,
}

/// Watches one connection. Shared by whoever reads it and whoever serves it.
pub(crate) struct Watch {
    doing: Cell<Doing>,
    since: Cell<Instant>,
    requests: Cell<u32>,
    framing: RefCell<Framing>,
    /// A head is not complete with the bytes that are there.
    waits: Notify,
}

impl Watch {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            doing: Cell::new(Doing::Nothing),
            since: Cell::new(Instant::now()),
            requests: Cell::new(0),
            framing: RefCell::default(),
            waits: Notify::new(),
        })
    }

    /// Bytes that were read.
    pub(crate) fn saw(&self, bytes: &[u8]) {
        match self.doing.get() {
            Doing::Waiting => return,
            Doing::Nothing => {
                self.now(Doing::Head);
                *self.framing.borrow_mut() = Framing::default();
            }
            Doing::Head => {}
        }
        self.framing.borrow_mut().saw(bytes);
    }

    /// There is nothing more to read now.
    pub(crate) fn starved(&self) {
        if self.doing.get() == Doing::Head {
            self.waits.notify_one();
        }
    }

    /// A request begins; it ends with the guard.
    pub(crate) fn begin(self: &Rc<Self>) -> Serving {
        self.requests.set(self.requests.get() + 1);
        self.now(Doing::Waiting);
        Serving(self.clone())
    }

    /// Whether the head that was just read has both `Content-Length` and `Transfer-Encoding`: where
    /// its body ends is then a matter of opinion.
    pub(crate) fn framed_twice(&self) -> bool {
        self.framing.borrow().is_twice()
    }

    /// Resolves when a limit has passed. One at a time may wait.
    pub(crate) async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let (doing, since) = (self.doing.get(), self.since.get());
            let (deadline, overdue) = match doing {
                Doing::Head => (since + limits.head, Overdue::Head),
                Doing::Nothing => (since + limits.idle, Overdue::Idle),
                Doing::Waiting => (Instant::now() + limits.idle, Overdue::Idle),
            };
            if doing != Doing::Waiting && deadline <= Instant::now() {
                return overdue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => {}
                () = self.waits.notified() => {}
            }
        }
    }

    /// Resolves when nothing has been asked, and no head begun, for `long`.
    pub(crate) async fn quiet(&self, long: Duration) {
        loop {
            let until = match self.doing.get() {
                Doing::Nothing => self.since.get() + long,
                Doing::Head | Doing::Waiting => Instant::now() + long,
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn now(&self, doing: Doing) {
        self.doing.set(doing);
        self.since.set(Instant::now());
    }
}

/// One request that is being served.
pub(crate) struct Serving(Rc<Watch>);

impl Drop for Serving {
    fn drop(&mut self) {
        let left = self.0.requests.get().saturating_sub(1);
        self.0.requests.set(left);
        if left == 0 {
            self.0.now(Doing::Nothing);
        }
    }
}

/// Longest header name that is told apart.
const LONGEST: usize = "transfer-encoding".len();

/// Reads the names of the headers of one head.
#[derive(Default)]
struct Framing {
    /// Beginning of the line, lower case, as far as it may be one of the names.
    name: [u8; LONGEST],
    length: usize,
    past_name: bool,
    /// Something was read before this line.
    begun: bool,
    over: bool,
    content_length: bool,
    transfer_encoding: bool,
}

impl Framing {
    fn saw(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.over {
                return;
            }
            match byte {
                b'\n' => self.end_of_line(),
                b'\r' => {}
                _ if self.past_name => {}
                b':' => self.end_of_name(),
                _ => match self.name.get_mut(self.length) {
                    Some(place) => {
                        *place = byte.to_ascii_lowercase();
                        self.length += 1;
                    }
                    None => self.past_name = true,
                },
            }
        }
    }

    fn end_of_name(&mut self) {
        match &self.name[..self.length] {
            b"content-length" => self.content_length = true,
            b"transfer-encoding" => self.transfer_encoding = true,
            _ => {}
        }
        self.past_name = true;
    }

    fn end_of_line(&mut self) {
        let empty = self.length == 0 && !self.past_name;
        // Empty lines before the request line are skipped (RFC 9112 section 2.2).
        self.over = empty && self.begun;
        self.begun |= !empty;
        self.length = 0;
        self.past_name = false;
    }

    fn is_twice(&self) -> bool {
        self.content_length && self.transfer_encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(head: &str) -> bool {
        let whole = Watch::new();
        whole.saw(head.as_bytes());
        let pieces = Watch::new();
        for byte in head.as_bytes() {
            pieces.saw(&[*byte]);
        }
        assert_eq!(whole.framed_twice(), pieces.framed_twice(), "{head:?}");
        whole.framed_twice()
    }

    #[test]
    fn a_head_with_both_framings_is_told() {
        for (head, expected) in [
            (
                "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
                true,
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nCONTENT-LENGTH:4\r\n\r\n",
                true,
            ),
            (
                "POST / HTTP/1.1\ncontent-length: 4\ntransfer-encoding: x\n\n",
                true,
            ),
            (
                "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: x\r\n\r\n",
                true,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nTransfer-Encoding: chunked\r\n",
                false,
            ),
            (
                "POST / HTTP/1.1\r\nX-Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Lengths: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "GET /content-length:transfer-encoding: HTTP/1.1\r\n\r\n",
                false,
            ),
        ] {
            assert_eq!(twice(head), expected, "{head:?}");
        }
    }

    #[test]
    fn each_head_is_judged_by_itself() {
        let watch = Watch::new();
        watch.saw(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n");
        drop(watch.begin());
        watch.saw(b"GET / HTTP/1.1\r\n\r\n");
        assert!(!watch.framed_twice());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_a_head_starts_with_its_first_byte_and_is_not_stretched_by_more() {
        let limits = Limits::default();
        let (watch, began) = (Watch::new(), Instant::now());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let trickle = async {
            for byte in b"GET / HTTP/1.1\r\nx: aaaaaaaaaaaaaaa".chunks(1) {
                watch.saw(byte);
                watch.starved();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let overdue = async {
            let overdue = watch.overdue(&limits).await;
            (overdue, began.elapsed())
        };
        let (_, (overdue, after)) = tokio::join!(trickle, overdue);
        assert_eq!(overdue, Overdue::Head);
        assert_eq!(after, Duration::from_secs(70));
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_is_counted_from_the_end_of_the_last_request() {
        let (watch, began) = (Watch::new(), Instant::now());
        let (long, request) = (Duration::from_secs(5), Duration::from_secs(7));
        let serving = watch.begin();
        let ends = async {
            tokio::time::sleep(request).await;
            drop(serving);
        };
        tokio::join!(watch.quiet(long), ends);
        assert!(began.elapsed() >= request + long, "{:?}", began.elapsed());
        let before = Instant::now();
        watch.quiet(long).await;
        assert_eq!(before.elapsed(), Duration::ZERO, "it has been quiet");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_served_is_neither_late_nor_idle() {
        let limits = Limits::default();
        let (watch, began) = (Watch::new(), Instant::now());
        watch.saw(b"GET / HTTP/1.1\r\n\r\n");
        let serving = watch.begin();
        let ends = async {
            tokio::time::sleep(limits.idle * 3).await;
            drop(serving);
        };
        let (overdue, ()) = tokio::join!(watch.overdue(&limits), ends);
        assert_eq!(overdue, Overdue::Idle);
        assert!(began.elapsed() >= limits.idle * 4 && began.elapsed() < limits.idle * 6);
    }
}
