use super::sources::{Source, sources};

/// Lines of a file before its tests.
const LINES_MAX: usize = 600;

/// Parts of file names that say nothing of what the file does.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helpers", "common", "manager", "misc"];

/// What no file may hold; joined here, so that this file does not hold it.
fn unfinished() -> [String; 5] {
    [
        ["#[ign", "ore"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["TO", "DO"],
        ["FIX", "ME"],
    ]
    .map(|parts| parts.concat())
}

/// What crates that hold decisions must do without: files, sockets, threads, time and futures.
const IMPURE: [&str; 7] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "async fn",
];

/// The one place that reads the time.
const CLOCK: &str = "crates/event/src/clock.rs";

/// The parts of the server that know nothing of each other.
const SERVER_PARTS: [&str; 3] = ["registry", "gateway", "admin"];

fn breaches(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let path = source.path.as_str();
    let lines = source.product().lines().count();
    if lines > LINES_MAX {
        found.push(format!(
            "{path} has {lines} lines before its tests, more than {LINES_MAX}"
        ));
    }
    if path
        .trim_end_matches(".rs")
        .split('/')
        .any(|part| EMPTY_NAMES.contains(&part))
    {
        found.push(format!("{path} is not named for what it does"));
    }
    for words in unfinished().iter().filter(|words| source.text.contains(*words)) {
        found.push(format!("{path} holds `{words}`"));
    }
    let pure = ["crates/event/src/", "crates/schema/src/", "crates/flow/src/"];
    if pure.iter().any(|folder| path.starts_with(folder)) && path != CLOCK {
        for words in IMPURE.iter().filter(|words| source.product().contains(*words)) {
            found.push(format!("{path} holds decisions, and uses `{words}`"));
        }
    }
    found.extend(meetings_of_server_parts(source));
    found
}

/// Where one part of the server imports another.
fn meetings_of_server_parts(source: &Source) -> Vec<String> {
    let inside = source.path.strip_prefix("crates/server/src/").unwrap_or_default();
    let Some(part) = inside
        .split(['/', '.'])
        .next()
        .filter(|part| SERVER_PARTS.contains(part))
    else {
        return Vec::new();
    };
    let others = SERVER_PARTS.iter().filter(|other| **other != part);
    others
        .filter(|other| {
            ["crate::", "super::"]
                .iter()
                .any(|root| source.text.contains(&format!("{root}{other}")))
        })
        .map(|other| {
            format!(
                "{} imports {other}: {part} and {other} must not know each other",
                source.path
            )
        })
        .collect()
}

#[test]
fn sources_keep_the_rules() {
    let found: Vec<String> = sources().iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn breaches_are_seen() {
    let check = |path: &str, text: &str, expected: usize| {
        let found = breaches(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        assert_eq!(found.len(), expected, "{path}: {found:?}");
    };
    check("crates/event/src/record.rs", "struct Record;", 0);
    check("crates/event/src/long.rs", &"\n".repeat(LINES_MAX + 1), 1);
    check(
        "crates/event/src/tested.rs",
        &format!("\n#[cfg(test)]\nmod tests {{{}}}", "\n".repeat(LINES_MAX)),
        0,
    );
    check("crates/event/src/utils.rs", "", 1);
    check("crates/event/src/helpers/send.rs", "", 1);
    for words in unfinished() {
        check("crates/store/tests/it/standby.rs", &words, 1);
    }
    check("crates/flow/src/lane.rs", "std::time::Instant::now()", 1);
    check("crates/broker/src/lane.rs", "std::time::Instant::now()", 0);
    check(CLOCK, "std::time::Instant::now()", 0);
    check(
        "crates/server/src/registry/subjects.rs",
        "use crate::admin::Page;",
        1,
    );
    check("crates/server/src/gateway.rs", "use super::registry;", 1);
    check(
        "crates/server/src/registry/subjects.rs",
        "use crate::registry::State;",
        0,
    );
    check("crates/server/src/lib.rs", "pub use crate::registry::State;", 0);
}
