//! Is the peer still there? PINGs at a fixed interval, each with a deadline.
//! In: time and pongs. Out: [`Beat`]. Must not happen here: more than one PING in flight.

use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// The peer answered.
    Pong,
    /// It did not in time.
    Dead,
}

pub(super) struct Keepalive {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    /// Until the next PING, or until the answer is overdue.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Keepalive {
    /// The first PING goes out after `first`.
    pub(super) fn new(
        pings: PingPong,
        first: Duration,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        Self {
            pings,
            interval,
            timeout,
            timer: Box::pin(tokio::time::sleep(first)),
            waiting: false,
        }
    }

    /// Must be polled after the connection: a pong read by it is then seen at once. Errors of the
    /// connection are the connection's to report.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            if self.waiting {
                if let Poll::Ready(pong) = self.pings.poll_pong(cx) {
                    if pong.is_err() {
                        return Poll::Pending;
                    }
                    self.waiting = false;
                    self.restart(self.interval);
                    return Poll::Ready(Beat::Pong);
                }
                return self.timer.as_mut().poll(cx).map(|()| Beat::Dead);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.waiting = true;
            self.restart(self.timeout);
        }
    }

    fn restart(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
    }
}
