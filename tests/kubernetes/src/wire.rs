//! What crosses the links between nodes.
//! In: a cluster. Out: whether what the load carries was readable there since the mesh has had it.
//! Owns: the capture, on the bridge where all nodes meet.

use std::cell::Cell;

use ambit_harness::wire::Capture;
use anyhow::{Context as _, Result, ensure};

use crate::load;
use crate::site::Site;
use crate::wait::until;

/// A running capture.
pub(crate) struct Wire {
    capture: Capture,
    /// Occurrences before everything was in the mesh
    before: Cell<Option<u64>>,
}

impl Wire {
    /// Starts to look.
    pub(crate) fn watch(site: &Site) -> Result<Self> {
        let links: Vec<String> = site
            .nodes()?
            .iter()
            .map(|node| format!("v-{node}"))
            .collect();
        let capture = Capture::start(&site.control_plane(), &links, load::MARKER);
        Ok(Self {
            capture: capture.context("capture on the bridge")?,
            before: Cell::new(None),
        })
    }

    /// Occurrences of the marker.
    pub(crate) fn readable(&self) -> u64 {
        self.capture.seen().marker
    }

    /// Waits until the load is answered and none of it can be read; from now on none may be.
    pub(crate) fn falls_silent(&self, site: &Site) -> Result<()> {
        until("a load that cannot be read", || {
            let before = self.readable();
            load::flows(site)?;
            let now = self.readable();
            ensure!(before == now, "{} readable pieces", now - before);
            self.before.set(Some(now));
            Ok(())
        })
    }

    /// Fails if anything could be read since it fell silent. Says how many bytes were in tunnels.
    pub(crate) fn stayed_silent(&self) -> Result<String> {
        let seen = self.capture.seen();
        let before = self.before.get().context("it has never fallen silent")?;
        let readable = seen.marker - before;
        ensure!(
            readable == 0,
            "{readable} pieces of the load were readable: {seen:?}"
        );
        ensure!(seen.hbone_bytes > 0, "nothing was in tunnels: {seen:?}");
        Ok(format!("{} kB in tunnels", seen.hbone_bytes >> 10))
    }
}
