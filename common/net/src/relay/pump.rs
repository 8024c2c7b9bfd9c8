//! One direction of a relay.
//! In: an inlet, an outlet, a byte counter. Out: [`PumpEnd`], once.
//! Owns: both halves until the relay ends. Must not happen here: more than [`BATCH`] transfers in
//! one turn (other connections of the worker wait), losing a wake-up.

use super::{Counters, Inlet, Outlet, ResetCode, StreamError, Transfer, TransferError};
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};

/// Transfers per turn; with reads of 256 KiB this is 1 MiB.
const BATCH: usize = 4;

pub(super) struct Pump<'c, I, O> {
    inlet: I,
    outlet: O,
    count: &'c AtomicU64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    Finishing,
    Done,
    /// The receiver wants no more; the inlet was not read to its end.
    Stopped,
}

pub(super) enum PumpEnd {
    /// Everything was delivered, or the receiver said that it wants no more.
    Done,
    Broken(TransferError),
}

impl<'c, I: Inlet, O: Outlet> Pump<'c, I, O> {
    pub(super) fn new(inlet: I, outlet: O, count: &'c AtomicU64) -> Self {
        Self {
            inlet,
            outlet,
            count,
            state: State::Copying,
        }
    }

    /// True once the inlet was read to its end and all of it delivered.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// `other_done`: the opposite direction is complete, so the outlet's endpoint has ended its
    /// inlet and closing it is as good as a half-close.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, other_done: bool) -> Poll<PumpEnd> {
        match ready!(self.poll_result(cx, other_done)) {
            Ok(()) => Poll::Ready(PumpEnd::Done),
            Err(TransferError::Outlet(StreamError::Stopped)) => {
                self.state = State::Stopped;
                Poll::Ready(PumpEnd::Done)
            }
            Err(error) => Poll::Ready(PumpEnd::Broken(error)),
        }
    }

    fn poll_result(
        &mut self,
        cx: &mut Context<'_>,
        other_done: bool,
    ) -> Poll<Result<(), TransferError>> {
        if self.state == State::Copying {
            ready!(self.poll_copy(cx))?;
            self.state = State::Finishing;
        }
        if self.state == State::Finishing {
            ready!(self.outlet.poll_finish(cx, other_done)).map_err(TransferError::Outlet)?;
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransferError>> {
        for _ in 0..BATCH {
            match self.inlet.poll_transfer(cx, &mut self.outlet) {
                Poll::Ready(Ok(Transfer::Moved(n))) => Counters::add(self.count, n),
                Poll::Ready(Ok(Transfer::Ended)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if let Poll::Ready(Err(error)) = self.outlet.poll_flush(cx) {
                        return Poll::Ready(Err(TransferError::Outlet(error)));
                    }
                    return self
                        .outlet
                        .poll_broken(cx)
                        .map(|error| Err(TransferError::Outlet(error)));
                }
            }
        }
        if let Poll::Ready(Err(error)) = self.outlet.poll_flush(cx) {
            return Poll::Ready(Err(TransferError::Outlet(error)));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn reset(&mut self) {
        self.outlet.reset(ResetCode::CONNECT_ERROR);
    }
}
