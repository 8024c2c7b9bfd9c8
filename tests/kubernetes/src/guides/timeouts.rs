//! "Request time-outs": what is slow is given up where the route says so.

use anyhow::{Result, ensure};

use super::request_routing::{ALL_V1, pages};
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, statuses};
use crate::wait::until;

const REVIEWS: &str = include_str!("../manifests/guides/reviews-v2.yaml");
const SLOW: &str = include_str!("../manifests/guides/ratings-slow.yaml");
const IN_TIME: &str = include_str!("../manifests/guides/reviews-v2-in-half-a-second.yaml");
const NO_REVIEWS: &str = "Sorry, product reviews are currently unavailable for this book.";
/// What v2 shows.
const STARS: &str = "color=\"black\"";

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply_sample("default", ALL_V1)?;
    site.apply(REVIEWS)?;
    site.apply(SLOW)?;
    until("stars, two seconds late", || {
        let seen = pages(site, 1, "", STARS)?;
        ensure!(seen == exactly([(STARS, 1)]), "{seen:?}");
        Ok(())
    })?;
    saw("ratings 2 s late: the page has them");
    site.apply(IN_TIME)?;
    until("the time-out", || {
        let seen = statuses(site, "default", "", "http://reviews:9080/reviews/0")?;
        ensure!(seen == exactly([("504", 1)]), "{seen:?}");
        Ok(())
    })?;
    let seen = statuses(site, "default", "", "http://reviews:9080/reviews/[1-10]")?;
    ensure!(seen == exactly([("504", 10)]), "{seen:?}");
    let page = pages(site, 3, "", NO_REVIEWS)?;
    ensure!(page == exactly([(NO_REVIEWS, 3)]), "{page:?}");
    saw(&format!(
        "with a time-out of 0.5 s: {seen:?}, and the page says `Error fetching product reviews!`"
    ));
    site.delete_sample("default", ALL_V1).map(drop)
}
