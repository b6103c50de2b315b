//! What is wrong with a configured source is told with its file, its key and what would be right, all
//! at once, by the exit status 2.

use std::collections::BTreeSet;

use edge_agent::config::Config;

use crate::world::World;

/// A kind of source as it is right, key by key, and the keys that its example leaves out.
struct Kind {
    kind: &'static str,
    right: &'static [(&'static str, &'static str)],
    further: &'static [&'static str],
}

const COMMON: &[&str] = &["name", "kind", "format", "dialect", "settings", "role"];

const DIRECTORY: Kind = Kind {
    kind: "directory",
    right: &[("path", "'tills'")],
    further: &[
        "depth",
        "pattern",
        "exclude",
        "processed",
        "processed_folder",
        "may_empty",
        "poll_millis",
        "tail_seconds",
        "network",
        "bundle",
        "bundle_mark",
        "settle_seconds",
    ],
};
const HTTP: Kind = Kind {
    kind: "http",
    right: &[("url", "'https://till/journal?from={from}'"), ("cursor", "'ticks-row'")],
    further: &[
        "method",
        "body",
        "list",
        "time_field",
        "id_field",
        "start",
        "overlap_seconds",
        "poll_seconds",
        "timeout_seconds",
        "page_bytes_max",
        "header_name",
        "header_file",
        "ca",
    ],
};
const CLIENT: Kind = Kind {
    kind: "tcp",
    right: &[("mode", "'client'"), ("address", "'10.0.0.5:4001'")],
    further: &["answer", "hold", "idle_millis", "read_timeout_seconds", "ca", "server_name"],
};
const SERVER: Kind = Kind {
    kind: "tcp",
    right: &[("mode", "'server'"), ("address", "'0.0.0.0:4001'")],
    further: &["answer", "hold", "idle_millis", "read_timeout_seconds", "certificate", "key"],
};
const MIRROR: Kind = Kind {
    kind: "tcp",
    right: &[("mode", "'mirror'")],
    further: &["address", "answer", "hold", "idle_millis", "read_timeout_seconds"],
};
const PROXY: Kind = Kind {
    kind: "tcp",
    right: &[("mode", "'proxy'"), ("address", "'0.0.0.0:9100'"), ("printer", "'10.0.0.9:9100'")],
    further: &["answer", "hold", "idle_millis", "read_timeout_seconds"],
};
const SERIAL: Kind = Kind {
    kind: "serial",
    right: &[("device", "'/dev/serial/by-id/till'")],
    further: &["baud", "framing", "flow", "answer", "hold", "idle_millis"],
};
const FAKE: Kind = Kind {
    kind: "fake",
    right: &[("invented", "true")],
    further: &["seed", "tills", "receipts_per_minute"],
};
const KINDS: [&Kind; 8] = [&DIRECTORY, &HTTP, &CLIENT, &SERVER, &MIRROR, &PROXY, &SERIAL, &FAKE];

/// One change of a right source, and the one fault that it makes: its key and words of it.
type Case = (&'static Kind, &'static [(&'static str, &'static str)], &'static str, &'static str);

const CASES: &[Case] = &[
    (&DIRECTORY, &[("name", "''")], "name", "is empty; it must be a name"),
    (&DIRECTORY, &[("name", "'backfill'")], "name", "is what the command of that name fills"),
    (&DIRECTORY, &[("name", "'tills'")], "name", "is taken by another source"),
    (&DIRECTORY, &[("kind", "'ftp'")], "kind", "known are directory, http, tcp, serial, fake"),
    (&DIRECTORY, &[("format", "'csv'")], "format", "known are poslog, jsonl"),
    (&DIRECTORY, &[("format", "'poslog'")], "format", "known dialects of poslog are"),
    (&DIRECTORY, &[("dialect", "'ncr-acs'")], "format", "jsonl has no dialects"),
    (&DIRECTORY, &[("settings", "'none.toml'")], "settings", "cannot be read"),
    (&DIRECTORY, &[("role", "'second'")], "role", "none of \"counts\", \"backfill\", \"closings\""),
    (&DIRECTORY, &[("path", "''")], "path", "is empty; it must be the folder"),
    (&DIRECTORY, &[("depth", "0")], "depth", "whole number from 1 to 8"),
    (&DIRECTORY, &[("depth", "9")], "depth", "whole number from 1 to 8"),
    (&DIRECTORY, &[("pattern", "[]")], "pattern", "nothing would be read"),
    (&DIRECTORY, &[("pattern", "['[a']")], "pattern", "[a"),
    (&DIRECTORY, &[("exclude", "['[a']")], "exclude", "[a"),
    (&DIRECTORY, &[("exclude", "[1]")], "exclude", "list of texts in quotes"),
    (&DIRECTORY, &[("processed", "'delete'")], "processed", "neither \"leave\" nor \"move\""),
    (&DIRECTORY, &[("processed", "'move'")], "processed_folder", "processed = \"move\" needs it"),
    (&DIRECTORY, &[("processed_folder", "'done'")], "processed", "must be \"move\" where"),
    (&DIRECTORY, &[("poll_millis", "9")], "poll_millis", "from 10 to 60000"),
    (&DIRECTORY, &[("poll_millis", "60001")], "poll_millis", "from 10 to 60000"),
    (&DIRECTORY, &[("tail_seconds", "0")], "tail_seconds", "from 1 to 31536000"),
    (&DIRECTORY, &[("tail_seconds", "-1")], "tail_seconds", "from 1 to 31536000"),
    (&DIRECTORY, &[("bundle_mark", "'a'")], "bundle_mark", "means nothing without bundle = true"),
    (&DIRECTORY, &[("settle_seconds", "9")], "settle_seconds", "without bundle = true"),
    (
        &DIRECTORY,
        &[("bundle", "true"), ("settle_seconds", "0")],
        "settle_seconds",
        "from 1 to 3600",
    ),
    (&DIRECTORY, &[("bundle", "true"), ("bundle_mark", "'a/b'")], "bundle_mark", "no file's own"),
    (&HTTP, &[("url", "'ftp://till/{from}'")], "url", "must begin with http:// or https://"),
    (&HTTP, &[("url", "'https://till/'")], "url", "names no place such as {from}"),
    (
        &HTTP,
        &[("url", "'https://till/{row}/{form}'")],
        "url",
        "{form} is no place; known are {from}",
    ),
    (&HTTP, &[("cursor", "'page'")], "cursor", "one of ticks-row, version, opaque, time-id"),
    (&HTTP, &[("method", "'PUT'")], "method", "neither \"GET\" nor \"POST\""),
    (&HTTP, &[("body", "'{}'")], "body", "needs method = \"POST\""),
    (&HTTP, &[("start", "'soon'")], "start", "a time such as \"2026-11-01T00:00:00Z\""),
    (&HTTP, &[("cursor", "'version'"), ("start", "'-1'")], "start", "a number for cursor"),
    (&HTTP, &[("cursor", "'time-id'")], "start", "a time such as"),
    (&HTTP, &[("cursor", "'version'"), ("overlap_seconds", "9")], "overlap_seconds", "with cursor"),
    (&HTTP, &[("overlap_seconds", "604801")], "overlap_seconds", "from 0 to 604800"),
    (&HTTP, &[("poll_seconds", "0")], "poll_seconds", "from 1 to 86400"),
    (&HTTP, &[("timeout_seconds", "601")], "timeout_seconds", "from 1 to 600"),
    (&HTTP, &[("page_bytes_max", "9999")], "page_bytes_max", "from 10000 to 64000000"),
    (&HTTP, &[("header_name", "'A'")], "header_file", "go together"),
    (&HTTP, &[("header_file", "'token'")], "header_file", "go together"),
    (&HTTP, &[("header_name", "'A b'"), ("header_file", "'token'")], "header_name", "is no name"),
    (&HTTP, &[("header_name", "'A'"), ("header_file", "'none'")], "header_file", "cannot be read"),
    (
        &HTTP,
        &[("url", "'http://till/{from}'"), ("header_name", "'A'"), ("header_file", "'token'")],
        "url",
        "must be https where header_file is set",
    ),
    (&HTTP, &[("ca", "'none.pem'")], "ca", "cannot be read"),
    (&CLIENT, &[("mode", "'both'")], "mode", "is no client, server, mirror or proxy"),
    (&CLIENT, &[("address", "'till'")], "address", "no host and port such as"),
    (&CLIENT, &[("address", "'till:70000'")], "address", "no host and port such as"),
    (&CLIENT, &[("answer", "'yes'")], "answer", "none of \"none\", \"ack-nak\", \"3964r\""),
    (&CLIENT, &[("answer", "'ack-nak'")], "answer", "goes with telegrams"),
    (&CLIENT, &[("hold", "true")], "hold", "needs an answer other than"),
    (&CLIENT, &[("idle_millis", "19")], "idle_millis", "from 20 to 600000"),
    (&CLIENT, &[("read_timeout_seconds", "0")], "read_timeout_seconds", "from 1 to 31536000"),
    (&CLIENT, &[("server_name", "'till-3'")], "server_name", "needs a ca"),
    (&CLIENT, &[("ca", "'token'")], "server_name", "is missing; it must be the name in"),
    (&CLIENT, &[("ca", "'none'"), ("server_name", "'a'")], "ca", "cannot be read"),
    (&CLIENT, &[("certificate", "'token'")], "certificate", "is not known here; known are"),
    (&CLIENT, &[("printer", "'10.0.0.9:9100'")], "printer", "is not known here; known are"),
    (&SERVER, &[("certificate", "'token'")], "key", "is missing; it must be the certificate's key"),
    (&SERVER, &[("key", "'token'")], "certificate", "is missing; it must be our certificate"),
    (&SERVER, &[("ca", "'token'")], "ca", "is not known here; known are"),
    (&MIRROR, &[("address", "':9100'")], "address", "no host and port such as"),
    (&PROXY, &[("printer", "'printer'")], "printer", "no host and port such as"),
    (&PROXY, &[("printer", "'0.0.0.0:9100'")], "address", "is also the printer's"),
    (&SERIAL, &[("device", "''")], "device", "is empty; it must be a serial device"),
    (&SERIAL, &[("baud", "299")], "baud", "from 300 to 921600"),
    (&SERIAL, &[("framing", "'8N2'")], "framing", "none of 8N1, 7E1, 8E1, 7O1"),
    (&SERIAL, &[("flow", "'both'")], "flow", "none of none, software, hardware"),
    (&SERIAL, &[("answer", "'3964r'")], "answer", "goes with telegrams"),
    (&FAKE, &[("invented", "false")], "invented", "must be true where kind is \"fake\""),
    (&FAKE, &[("format", "'square'")], "format", "must be \"jsonl\" where kind is \"fake\""),
    (&FAKE, &[("seed", "4294967296")], "seed", "from 0 to 4294967295"),
    (&FAKE, &[("tills", "0")], "tills", "from 1 to 99"),
    (&FAKE, &[("receipts_per_minute", "1000")], "receipts_per_minute", "from 0 to 999"),
];

#[test]
fn each_kind_is_right_as_its_example_stands() {
    for kind in KINDS {
        assert_eq!(told(&[source(kind, &[])]), "", "{}", kind.kind);
    }
}

#[test]
fn one_fault_is_told_with_its_key_and_what_would_be_right() {
    for (kind, changes, key, words) in CASES {
        let told = told(&[source(kind, changes)]);
        let wanted = format!("edge.toml: sources[1].{key}: ");
        let line = told.lines().find(|line| line.contains(&wanted));
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "{changes:?} in {}: {told}",
            kind.kind
        );
        assert_eq!(told.lines().count(), 1, "{changes:?} in {}: {told}", kind.kind);
    }
}

#[test]
fn a_key_that_must_be_there_is_missed_and_one_that_nobody_knows_is_named() {
    for kind in KINDS {
        for (key, _) in kind.right {
            let mut source = source(kind, &[]);
            source.retain(|(other, _)| other != key);
            let told = told(&[source]);
            let is_missed = told.contains(&format!("sources[1].{key}: is missing; it must be "));
            let must_be_named = *key == "invented" && told.contains("must be true");
            assert!(is_missed || must_be_named, "{key} of {}: {told}", kind.kind);
            assert_eq!(told.lines().count(), 1, "{key} of {}: {told}", kind.kind);
        }
        let told = told(&[source(kind, &[("colour", "'red'")])]);
        assert!(told.contains("sources[1].colour: is not known here; known are "), "{told}");
        // The table of this test knows all that the configuration knows.
        let known = told.rsplit("known are ").next().unwrap().split(", ").map(str::trim);
        let mut tested: BTreeSet<&str> = COMMON.iter().chain(kind.further).copied().collect();
        tested.extend(kind.right.iter().map(|(key, _)| key));
        assert_eq!(known.collect::<BTreeSet<_>>(), tested, "{}", kind.kind);
    }
}

#[test]
fn every_key_of_a_wrong_type_is_told_at_once() {
    for kind in KINDS {
        let mut source = source(kind, &[]);
        let mode = |key: &str| matches!(key, "kind" | "mode");
        source.retain(|(key, _)| mode(key));
        let all = COMMON.iter().chain(kind.further);
        let all = all.chain(kind.right.iter().map(|(key, _)| key)).filter(|key| !mode(key));
        let wrong: Vec<&str> = all.copied().collect();
        source.extend(wrong.iter().map(|&key| (key, "{ a = 1 }")));
        let told = told(&[source]);
        for key in wrong {
            assert!(
                told.contains(&format!("sources[1].{key}: ")),
                "{key} of {}: {told}",
                kind.kind
            );
        }
    }
}

#[tokio::test]
async fn the_agent_tells_the_faults_of_all_sources_at_once_and_exits_with_2() {
    let world = World::new();
    let wrong = |kind, key| source(kind, &[(key, "[]")]);
    let sources = [
        wrong(&DIRECTORY, "path"),
        wrong(&HTTP, "url"),
        wrong(&CLIENT, "address"),
        wrong(&SERIAL, "device"),
        wrong(&FAKE, "seed"),
    ];
    world.configure_source(&text(&sources));
    for arguments in [["run"].as_slice(), &["check"], &["check", "--probe"]] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        let file = world.path("edge.toml").display().to_string();
        for (at, key) in [(1, "path"), (2, "url"), (3, "address"), (4, "device"), (5, "seed")] {
            assert!(told.contains(&format!("{file}: sources[{at}].{key}: ")), "{key}: {told}");
        }
        // The sources of this test bear one name.
        assert_eq!(told.matches("is taken by another source").count(), 4, "{told}");
        assert_eq!(told.lines().count(), 9, "{told}");
    }
    assert!(!world.path("buffer.db").exists());
}

#[test]
fn an_invented_shop_need_not_be_named_where_time_is_simulated() {
    let world = World::new();
    let now = shared::time::Clock::real().now();
    let clock = format!(r#"{{"sim_start":"{now}","real_start":"{now}","speed":60}}"#);
    std::fs::write(world.path("clock.json"), clock).unwrap();
    let mut shop = source(&FAKE, &[]);
    shop.retain(|(key, _)| *key != "invented");
    world.configure_source(&text(&[shop]));
    assert!(Config::load(&world.path("edge.toml")).is_err());
    let plain = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let simulated = format!("clock_file = \"clock.json\"\n{plain}");
    std::fs::write(world.path("edge.toml"), simulated).unwrap();
    assert!(Config::load(&world.path("edge.toml")).is_ok());
}

type Source = Vec<(&'static str, &'static str)>;

/// Returns the keys of a source: as they are right, and then as they are changed.
fn source(kind: &Kind, changes: &[(&'static str, &'static str)]) -> Source {
    let own = match kind.kind {
        "directory" => "'directory'",
        "http" => "'http'",
        "tcp" => "'tcp'",
        "serial" => "'serial'",
        _ => "'fake'",
    };
    let mut keys = vec![("name", "'till'"), ("kind", own), ("format", "'jsonl'")];
    keys.extend(kind.right);
    for change in changes {
        keys.retain(|(key, _)| *key != change.0);
        keys.push(*change);
    }
    keys
}

fn text(sources: &[Source]) -> String {
    let source = |keys: &Source| {
        let lines = keys.iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[[sources]]\n{}", lines.collect::<String>())
    };
    sources.iter().map(source).collect()
}

/// Returns what is said of a box with these sources beside its folder of tills.
fn told(sources: &[Source]) -> String {
    let world = World::new();
    std::fs::write(world.path("token"), "secret").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(world.path("token"), private).unwrap();
    world.configure_source(&text(sources));
    Config::load(&world.path("edge.toml")).err().map_or_else(String::new, |it| it.to_string())
}
