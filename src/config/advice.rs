//! What is allowed in a rules file and yet is hardly meant: each a sentence that says what will come of it.

use crate::correlate::Rules;
use crate::correlate::rules::KeyMaterial;

/// Envoy writes its access log out this often, unless told otherwise (`--file-flush-interval-msec`).
const ENVOY_FLUSH_US: i64 = 10_000_000;
/// The shortest interval at which a Logpush job uploads.
const LOGPUSH_INTERVAL_US: i64 = 30_000_000;

pub fn advice(rules: &Rules) -> Vec<String> {
    let mut told = graces(rules);
    told.extend(keys(rules));
    if rules.edge_fronted.is_empty() && !rules.allowed_mesh_callers.is_empty() {
        told.push(
            "allowed_mesh_callers are exceptions to [edge] services, and none are listed: they change nothing"
                .to_owned(),
        );
    }
    told.extend(formats(rules));
    told
}

fn graces(rules: &Rules) -> Vec<String> {
    let named = rules.grace_us_of.iter().map(|(source, us)| (format!("the grace of {source}"), *us));
    let all = std::iter::once(("grace_seconds".to_owned(), rules.grace_us)).chain(named);
    all.filter_map(|(what, us)| {
        let seconds = us as f64 / 1e6;
        let (less_than, who) = if us < ENVOY_FLUSH_US {
            ("10 s", "Envoy writes its log out every 10 s and a Logpush job uploads every 30 s or more")
        } else if us < LOGPUSH_INTERVAL_US {
            ("30 s", "a Logpush job uploads every 30 s or more")
        } else {
            return None;
        };
        Some(format!("{what} is {seconds} s, less than {less_than}: {who}, so calls settle before their lines have come"))
    })
    .collect()
}

fn keys(rules: &Rules) -> Vec<String> {
    let mut told = Vec::new();
    for key in &rules.header_keys {
        match (&key.secret, &key.key_id) {
            (KeyMaterial::Ed25519(_), None) => told.push(
                "an ed25519 key has no id: headers name the id of their key, so it will verify none; give it the id that the \
                 Worker signs with"
                    .to_owned(),
            ),
            (KeyMaterial::HmacSha256(_), Some(id)) => told.push(format!(
                "the hmac-sha256 key {id:?} has an id that nothing compares: v1 headers name no key"
            )),
            _ => {}
        }
    }
    let ed25519 = |key: &crate::correlate::rules::HeaderKey| matches!(key.secret, KeyMaterial::Ed25519(_));
    if rules.header_audience.is_none() && rules.header_keys.iter().any(ed25519) {
        told.push(
            "[header] audience is not set: a header that the Worker signed for another mesh is accepted here as well".to_owned(),
        );
    }
    told
}

fn formats(rules: &Rules) -> Vec<String> {
    let mut told = Vec::new();
    for format in &rules.formats {
        let lacks = |field: &str| !format.fields.contains_key(field);
        let name = &format.name;
        if lacks("request_id") && lacks("traceparent") && lacks("hop") {
            told.push(format!(
                "format {name:?} names neither traceparent nor request_id nor hop: its lines can be joined by their connections \
                 only"
            ));
        }
        if lacks("node_id") {
            told.push(format!(
                "format {name:?} does not name node_id: say in the upload who wrote the lines (?proxy=NAME, --proxy NAME)"
            ));
        }
        if lacks("direction") && lacks("upstream_cluster") {
            told.push(format!(
                "format {name:?} names neither direction nor upstream_cluster: which side of a call a line tells cannot be known"
            ));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_rules;
    use std::path::Path;

    fn told(text: &str) -> String {
        advice(&parse_rules(text, "calltrail.toml", Path::new(".")).unwrap()).join("\n")
    }

    #[test]
    fn the_defaults_and_a_sensible_file_need_no_advice() {
        assert_eq!(told(""), "");
        assert_eq!(
            told(
                "[[header.key]]\nalgorithm = \"hmac-sha256\"\nsecret = \"x\"\n[join]\ngrace_seconds = 60\n[edge]\nservices = [\"a\"]"
            ),
            ""
        );
    }

    #[test]
    fn what_is_hardly_meant_is_told() {
        for (text, hint) in [
            ("[join]\ngrace_seconds = 5", "less than 10 s"),
            ("[join.grace_seconds_of]\nlogpush = 20", "the grace of logpush is 20 s, less than 30 s"),
            ("[edge]\nallowed_mesh_callers = [\"cron\"]", "change nothing"),
            (
                "[[header.key]]\nalgorithm = \"ed25519\"\npublic_key = \"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"",
                "has no id",
            ),
            ("[[header.key]]\nid = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"x\"", "nothing compares"),
            (
                "[[formats]]\nname = \"x\"\nsource = \"x\"\nfields = { start_time = \"t\" }",
                "by their connections only",
            ),
        ] {
            assert!(told(text).contains(hint), "{text}: {}", told(text));
        }
    }
}
