//! "Fault injection": a delay and an abort for one user.
//! The sample's own time-outs make the delay visible without a clock: page to reviews twice 3 s, reviews v1 and v2
//! to ratings 10 s, v3 2.5 s.

use anyhow::{Result, ensure};

use super::request_routing::{ALL_V1, JASON, pages};
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, script, statuses};
use crate::wait::until;

const DELAY: &str = "bookinfo/networking/virtual-service-ratings-test-delay.yaml";
const ABORT: &str = "bookinfo/networking/virtual-service-ratings-test-abort.yaml";
const REVIEWS_V3: &str = "bookinfo/networking/virtual-service-reviews-v3.yaml";
const SHORTER: &str = include_str!("../manifests/guides/ratings-a-little-slow.yaml");
/// The page without reviews.
const NO_REVIEWS: &str = "Sorry, product reviews are currently unavailable for this book.";
/// Reviews without ratings.
const NO_RATINGS: &str = "Ratings service is currently unavailable";
const RATINGS: &str = "http://ratings:9080/ratings/[1-50]";
const AS_JASON: &str = "-H 'end-user: jason'";

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply_sample("default", ALL_V1)?;
    site.apply_sample("default", JASON)?;
    site.apply_sample("default", DELAY)?;
    until("the delay", || {
        let seen = pages(site, 1, "jason", NO_REVIEWS)?;
        ensure!(seen == exactly([(NO_REVIEWS, 1)]), "{seen:?}");
        Ok(())
    })?;
    let others = pages(site, 20, "other", NO_REVIEWS)?;
    ensure!(others == exactly([("none", 20)]), "{others:?}");
    saw(
        "ratings 7 s late for jason: `Error fetching product reviews!`; 20 pages of others are whole",
    );
    site.apply_sample("default", REVIEWS_V3)?;
    site.apply(SHORTER)?;
    let red = "color=\"red\"";
    until("v3, which waits for what is a second late", || {
        let seen = pages(site, 3, "jason", red)?;
        ensure!(seen == exactly([(red, 3)]), "{seen:?}");
        Ok(())
    })?;
    saw("reviews v3 with ratings a second late: red stars");
    site.apply_sample("default", ALL_V1)?;
    site.apply_sample("default", JASON)?;
    site.apply_sample("default", ABORT)?;
    until("the abort", || {
        let seen = statuses(site, "default", AS_JASON, "http://ratings:9080/ratings/0")?;
        ensure!(seen == exactly([("500", 1)]), "{seen:?}");
        Ok(())
    })?;
    let jason = statuses(site, "default", AS_JASON, RATINGS)?;
    let others = statuses(site, "default", "", RATINGS)?;
    ensure!(
        jason == exactly([("500", 50)]) && others == exactly([("200", 50)]),
        "{jason:?} {others:?}"
    );
    let body = format!("curl -s {AS_JASON} http://ratings:9080/ratings/0");
    let body = script(site, "default", &body)?;
    ensure!(body == exactly([("fault filter abort", 1)]), "{body:?}");
    let jasons = pages(site, 20, "jason", NO_RATINGS)?;
    let everybody = pages(site, 20, "", NO_RATINGS)?;
    ensure!(
        jasons == exactly([(NO_RATINGS, 20)]) && everybody == exactly([("none", 20)]),
        "{jasons:?} {everybody:?}"
    );
    saw(&format!(
        "ratings aborted for jason: {jason:?} `fault filter abort`, others {others:?}; his 20 pages say so"
    ));
    site.delete_sample("default", ALL_V1).map(drop)
}
