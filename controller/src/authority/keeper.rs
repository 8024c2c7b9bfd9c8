//! Looks at the authority and at what is published, and goes on with a change of roots.
//! In: origin, record, leadership, time. Out: [`Signing`]. Every replica signs with the root that the
//! record names first; only the leader changes the record.

use super::ledger::{LedgerError, Version, whole_seconds};
use super::{Ledger, Origin};
use crate::cluster::authority::AuthorityError;
use crate::config::AuthorityConfig;
use crate::metrics::authority::{AuthorityMetrics, Reload};
use crate::signing::{Issuer, Signer, Signing};
use ambit_ca::authority::{Authority, OpenError, Pem, SelfSigned, Terms};
use ambit_ca::rotation::{self, Published};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// An authority that ends sooner is complained about.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often.
const COMPLAINT: Duration = Duration::from_secs(24 * 3600);
/// Authorities kept at most: the one that signs, and those that will.
const MAX_HELD: usize = 4;

/// What an authority is kept by.
pub(crate) struct Settings {
    pub(crate) trust_domain: String,
    pub(crate) authority: AuthorityConfig,
}

/// Keeps the authority.
pub(crate) struct Keeper {
    origin: Origin,
    ledger: Ledger,
    settings: Settings,
    leads: watch::Receiver<bool>,
    metrics: AuthorityMetrics,
    /// The last set that was good.
    seen: Pem,
    /// Newest last.
    held: Vec<Authority>,
    published: Published,
    refusal: Option<String>,
    /// What was wrong with the record, said once.
    unkept: Option<String>,
    complained: Option<Instant>,
    signer: watch::Sender<Arc<Signing>>,
}

impl Keeper {
    /// Opens the authority, or makes one.
    pub(crate) async fn open(
        mut origin: Origin,
        ledger: Ledger,
        settings: Settings,
        leads: watch::Receiver<bool>,
        metrics: AuthorityMetrics,
    ) -> Result<(Self, Signer), AuthorityError> {
        let now = SystemTime::now();
        let leading = *leads.borrow();
        let seen = origin.load(&form(&settings), leading, now).await?;
        let authority = first(origin.place(), &seen, &terms(&settings, now))?;
        metrics.reloaded(Reload::Adopted);
        let published = Published {
            roots: authority.roots().clone(),
            since: whole_seconds(now),
        };
        let (signer, receiver) = watch::channel(Arc::new(Signing {
            published: published.roots.clone(),
            revoked: authority.crl().into(),
            issuer: Issuer::Own(authority.clone()),
            pending: None,
            refusal: None,
        }));
        let mut keeper = Self {
            origin,
            ledger,
            settings,
            leads,
            metrics,
            seen,
            held: vec![authority],
            published,
            refusal: None,
            unkept: None,
            complained: None,
            signer,
        };
        keeper.follow(now).await;
        keeper.tell(now);
        Ok((keeper, receiver))
    }

    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        loop {
            tokio::select! {
                _ = drain.signalled() => return,
                Ok(()) = self.leads.changed() => {}
                () = sleep(self.settings.authority.look) => {}
            }
            let now = SystemTime::now();
            self.reload(now).await;
            self.follow(now).await;
            self.tell(now);
        }
    }

    /// Takes over what lies there, if it is another set and a good one.
    async fn reload(&mut self, now: SystemTime) {
        let leads = *self.leads.borrow_and_update();
        let loaded = self.origin.load(&form(&self.settings), leads, now).await;
        let pem = match loaded {
            Ok(pem) => pem,
            Err(error) => return self.refuse(causes(&error), Reload::Unreadable),
        };
        if pem == self.seen {
            self.refusal = None;
            return;
        }
        let place = self.origin.place();
        match Authority::from_pem(place, &pem, &terms(&self.settings, now)) {
            Ok(authority) => {
                let root_changes = authority.roots().first() != self.newest().roots().first();
                tracing::info!(
                    path = %place.display(),
                    root_changes,
                    roots = authority.roots().len(),
                    "another certificate authority is taken over"
                );
                self.metrics.reloaded(Reload::Adopted);
                self.held.push(authority);
                self.seen = pem;
                self.refusal = None;
            }
            Err(error) => self.refuse(causes(&error), Reload::Refused),
        }
    }

    fn refuse(&mut self, error: String, how: Reload) {
        if self.refusal.as_ref() == Some(&error) {
            return;
        }
        self.metrics.reloaded(how);
        tracing::error!(
            error,
            "certificate authority not taken over, the last one goes on"
        );
        self.refusal = Some(error);
    }

    /// Learns what is published, and as the leader does the next step.
    async fn follow(&mut self, now: SystemTime) {
        let leads = *self.leads.borrow();
        match self.step(leads, now).await {
            Ok(()) => self.unkept = None,
            Err(error) => {
                let error = causes(&error);
                if self.unkept.as_ref() != Some(&error) {
                    tracing::warn!(error, "published roots not kept");
                    self.unkept = Some(error);
                }
            }
        }
        let first = self.published.roots.first().cloned();
        let newest = self.held.len().saturating_sub(1);
        let mut index = 0;
        self.held.retain(|authority| {
            let stays = index == newest || authority.roots().first() == first.as_ref();
            index += 1;
            stays
        });
        let surplus = self.held.len().saturating_sub(MAX_HELD);
        self.held.drain(..surplus);
    }

    async fn step(&mut self, leads: bool, now: SystemTime) -> Result<(), LedgerError> {
        let (version, there) = match self.ledger.read().await {
            Ok(read) => read,
            Err(error) if leads && error.is_nonsense() => {
                tracing::warn!(error = %causes(&error), "the record of published roots is written anew");
                (self.ledger.version().await?, None)
            }
            Err(error) => return Err(error),
        };
        let Some(there) = there else {
            if leads {
                self.write(self.published.clone(), &version).await?;
            }
            return Ok(());
        };
        self.published = there;
        if !leads {
            return Ok(());
        }
        let own = self.newest().roots();
        let pace = self.settings.authority.pace;
        let Some((step, next)) = rotation::next(&self.published, own, pace, whole_seconds(now))
        else {
            return Ok(());
        };
        let roots = next.roots.len();
        if self.write(next, &version).await? {
            self.metrics.stepped(step);
            tracing::info!(step = step.as_str(), roots, "change of roots");
        }
        Ok(())
    }

    async fn write(&mut self, next: Published, over: &Version) -> Result<bool, LedgerError> {
        let written = self.ledger.write(&next, over).await?;
        if written {
            self.published = next;
        }
        Ok(written)
    }

    /// The lists of all authorities that leaves may be of.
    fn revoked(&self) -> String {
        let mut lists: Vec<&str> = Vec::new();
        for authority in &self.held {
            if !authority.crl().is_empty() && !lists.contains(&authority.crl()) {
                lists.push(authority.crl());
            }
        }
        lists.join("\n")
    }

    fn newest(&self) -> &Authority {
        self.held.last().expect("there is always one")
    }

    /// The newest of those whose root leads; without one, the newest: its key is all there is.
    fn chosen(&self, now: SystemTime) -> &Authority {
        let first = self.published.roots.first();
        let mut newest_first = self.held.iter().rev();
        newest_first
            .find(|a| a.roots().first() == first && a.not_after() > now)
            .unwrap_or_else(|| self.newest())
    }

    fn tell(&mut self, now: SystemTime) {
        let authority = self.chosen(now).clone();
        let next = Signing {
            issuer: Issuer::Own(authority.publishing(&self.published.roots)),
            published: self.published.roots.clone(),
            revoked: self.revoked().into(),
            pending: rotation::pending(&self.published, self.newest().roots()),
            refusal: self.refusal.clone(),
        };
        self.complain(authority.not_after(), now);
        if let Err(error) = self.origin.publish_crl(&next.revoked) {
            tracing::warn!(error = %causes(&error), "revocation lists not published");
        }
        self.signer.send_if_modified(|signing| {
            let same = signing.issuer.is_same(&next.issuer)
                && signing.pending == next.pending
                && signing.revoked == next.revoked
                && signing.refusal == next.refusal;
            if !same {
                *signing = Arc::new(next);
            }
            !same
        });
    }

    /// Says that what signs ends soon.
    fn complain(&mut self, end: SystemTime, now: SystemTime) {
        let left = end.duration_since(now).unwrap_or_default();
        let recently = |at: Instant| at.elapsed() < COMPLAINT;
        if left >= SOON || self.complained.is_some_and(recently) {
            return;
        }
        self.complained = Some(Instant::now());
        tracing::warn!(
            hours_left = left.as_secs() / 3600,
            "the certificate authority ends soon; when it does, no certificate is signed"
        );
    }
}

/// The authority to begin with. One whose lists of revoked certificates have run out is better than none.
fn first(place: &Path, pem: &Pem, terms: &Terms<'_>) -> Result<Authority, OpenError> {
    match Authority::from_pem(place, pem, terms) {
        Err(error @ OpenError::Outdated { .. }) => {
            tracing::error!(error = %causes(&error), "used all the same until there are newer ones");
            Authority::with_old_lists(place, pem, terms)
        }
        opened => opened,
    }
}

fn form(settings: &Settings) -> SelfSigned<'_> {
    SelfSigned {
        trust_domain: &settings.trust_domain,
        lifetime: settings.authority.root_lifetime,
        grace_percent: settings.authority.root_grace_percent,
    }
}

fn terms(settings: &Settings, now: SystemTime) -> Terms<'_> {
    Terms {
        trust_domain: &settings.trust_domain,
        lifetimes: settings.authority.lifetimes,
        now,
    }
}
