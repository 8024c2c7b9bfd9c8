//! A new path for a request.
//! In: the rewrite, how the path matched, the path and query sent. Out: path and query to send.

use super::matching::PathMatched;
use ambit_model::route::PathRewrite;

/// The new path with the old query. Always begins with `/`.
pub fn path_and_query(
    rewrite: &PathRewrite,
    matched: PathMatched,
    path: &str,
    query: Option<&str>,
) -> String {
    let mut new = new_path(rewrite, matched, path);
    if !new.starts_with('/') {
        new.insert(0, '/');
    }
    if let Some(query) = query {
        // A new path that brings its own query keeps it in front.
        new.push(if new.contains('?') { '&' } else { '?' });
        new.push_str(query);
    }
    new
}

fn new_path(rewrite: &PathRewrite, matched: PathMatched, path: &str) -> String {
    let rest = match matched {
        PathMatched::Whole => "",
        PathMatched::Prefix(length) => path.get(length..).unwrap_or(""),
    };
    match rewrite {
        PathRewrite::Full(full) => full.clone(),
        PathRewrite::PrefixOrFull(replacement) => format!("{replacement}{rest}"),
        PathRewrite::SegmentPrefix(replacement) => {
            let start = replacement.trim_end_matches('/');
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            match (start, rest) {
                (start, "") if path.ends_with('/') => format!("{start}/"),
                (_, "") => replacement.clone(),
                (start, rest) => format!("{start}/{rest}"),
            }
        }
        PathRewrite::Regex(substitution) => substitution.apply(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_model::route::Substitution;

    #[test]
    fn paths_are_rewritten_as_the_table_says() {
        use PathMatched::{Prefix, Whole};
        let prefix = |s: &str| PathRewrite::PrefixOrFull(s.into());
        let segment = |s: &str| PathRewrite::SegmentPrefix(s.into());
        let regex = |p, s| PathRewrite::Regex(Substitution::new(p, s).unwrap());
        let table = [
            (prefix("/v2"), Prefix(4), "/api/users", None, "/v2/users"),
            (prefix("/v2"), Prefix(4), "/api", Some("a=1"), "/v2?a=1"),
            (prefix("/"), Prefix(5), "/api/users", None, "/users"),
            (prefix("/v2"), Whole, "/api/users", None, "/v2"),
            (prefix("/v2/"), Prefix(1), "/users", None, "/v2/users"),
            (
                PathRewrite::Full("/all".into()),
                Prefix(4),
                "/api/users",
                Some("q"),
                "/all?q",
            ),
            (segment("/v2"), Prefix(4), "/api/users", None, "/v2/users"),
            (segment("/v2"), Prefix(4), "/api", None, "/v2"),
            (segment("/v2"), Prefix(4), "/api/", None, "/v2/"),
            (segment("/"), Prefix(4), "/api/users", None, "/users"),
            (segment("/"), Prefix(4), "/api", None, "/"),
            (segment("/v2/"), Prefix(4), "/api/users", None, "/v2/users"),
            (segment("/v2"), Prefix(0), "/users", None, "/v2/users"),
            (
                regex("^/user/([^/]+)/(.*)$", r"/\2/of/\1"),
                Whole,
                "/user/ann/posts",
                Some("p=2"),
                "/posts/of/ann?p=2",
            ),
            (regex("a", "b"), Whole, "/aa", None, "/bb"),
            (prefix("no-slash"), Whole, "/x", None, "/no-slash"),
        ];
        for (rewrite, matched, path, query, expected) in table {
            assert_eq!(
                path_and_query(&rewrite, matched, path, query),
                expected,
                "{rewrite:?} {path}"
            );
        }
    }
}
