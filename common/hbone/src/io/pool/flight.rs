//! One dial and everybody who waits for it.
//! In: the dial's result, once. Out: the same result to all, at once.
//! Must not happen here: a waiter left behind; a dial that ends in any way clears its slot.

use super::{Inner, TunnelKey};
use crate::io::client::Tunnel;
use crate::io::error::DialError;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Where one waits.
#[derive(Clone)]
pub(super) struct Flight(Shared<oneshot::Receiver<Result<(), Arc<DialError>>>>);

impl Flight {
    /// The end of the dial; a success has put its tunnel into the pool before.
    pub(super) async fn landed(self) -> Result<(), Arc<DialError>> {
        self.0
            .await
            .unwrap_or_else(|oneshot::Canceled| Err(Arc::new(DialError::Stopped)))
    }
}

/// The dial's side.
pub(super) struct Landing {
    pool: Weak<Inner>,
    key: TunnelKey,
    tell: Option<oneshot::Sender<Result<(), Arc<DialError>>>>,
}

/// A dial begins.
pub(super) fn begin(pool: &Rc<Inner>, key: TunnelKey) -> (Landing, Flight) {
    let (tell, wait) = oneshot::channel();
    let landing = Landing {
        pool: Rc::downgrade(pool),
        key,
        tell: Some(tell),
    };
    (landing, Flight(wait.shared()))
}

impl Landing {
    /// The dial has ended.
    pub(super) fn land(mut self, result: Result<Rc<Tunnel>, DialError>) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let result = match result {
            Ok(tunnel) => {
                // The slot is gone if its pod was forgotten meanwhile; the waiters then dial anew
                // and fail where it no longer exists.
                if let Some(slot) = pool.slots.borrow_mut().get_mut(&self.key) {
                    slot.tunnels.push(tunnel);
                }
                Ok(())
            }
            Err(error) => {
                pool.count(|s| s.dial_failures += 1);
                Err(Arc::new(error))
            }
        };
        let tell = self.tell.take();
        // Clears the slot before anybody wakes, so that whoever needs more dials anew.
        drop(self);
        if let Some(tell) = tell {
            // Everybody may have given up.
            let _ = tell.send(result);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && let Some(slot) = pool.slots.borrow_mut().get_mut(&self.key)
        {
            slot.flight = None;
        }
    }
}
