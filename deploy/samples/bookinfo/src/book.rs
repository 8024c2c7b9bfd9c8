//! The book: the sample's words and numbers, and the product paths every service shares.
//! In: a request path. Out: the product it names, the sample's constants.

use serde_json::{Value, json};

/// The product id in `/<service>/<id>`; `None` if the path is another one or the id is no number.
pub(crate) fn product_id(path: &str, service: &str) -> Option<u64> {
    path.strip_prefix('/')?
        .strip_prefix(service)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// One entry of `/api/v1/products`.
pub(crate) fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "<a href=\"https://en.wikipedia.org/wiki/The_Comedy_of_Errors\">Wikipedia Summary</a>: The Comedy of Errors is one of <b>William Shakespeare's</b> early plays.",
    })
}

/// Who reviewed, and what they wrote.
pub(crate) const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
    ),
    (
        "Reviewer2",
        "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
    ),
];

/// The stars given before anybody posts others.
pub(crate) const STARS: [(&str, u64); 2] = [("Reviewer1", 5), ("Reviewer2", 4)];

#[cfg(test)]
mod tests {
    use super::product_id;

    #[test]
    fn a_product_path_names_its_service_and_a_number() {
        assert_eq!(product_id("/reviews/0", "reviews"), Some(0));
        assert_eq!(product_id("/ratings/17", "ratings"), Some(17));
        for path in [
            "/reviews",
            "/reviews/",
            "/reviews/x",
            "/ratings/0",
            "reviews/0",
            "/reviews/0/1",
        ] {
            assert_eq!(product_id(path, "reviews"), None, "{path}");
        }
    }
}
