//! The house rules as a test: sizes, arrows between modules, one place per foreign library, no
//! crowded signatures. Each rule is seen to fire on a small text of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const PARAMETERS_MAX: usize = 5;
const FORBIDDEN_NAMES: [&str; 4] = ["utils", "common", "helpers", "misc"];

/// A module, and the modules that it may name.
type Room = (&'static str, &'static [&'static str]);

/// What each module of a crate's top level may name. `lib`, `main` and `cli` join them all.
const ARROWS: &[(&str, &[Room])] = &[
    (
        "edge-agent",
        &[
            ("source", &["config"]),
            ("format", &[]),
            ("aggregate", &[]),
            ("buffer", &["aggregate"]),
            ("ship", &["buffer", "config"]),
            ("status", &["buffer", "config", "ship"]),
            ("config", &["format"]),
            ("restore", &[]),
        ],
    ),
    (
        "central",
        &[
            ("validate", &[]),
            ("kafka", &["config"]),
            ("topics", &["config", "kafka"]),
            ("store", &["config", "validate"]),
            ("ingest", &["config", "kafka", "validate", "store", "serve"]),
            ("lake", &["config", "kafka", "store", "serve"]),
            ("reconcile", &["config", "kafka", "store", "lake", "serve"]),
            ("serve", &["config", "store"]),
            ("config", &[]),
        ],
    ),
];

/// Where a foreign library may be named: the crate, the library, the files or folders.
const HOMES: &[(&str, &str, &[&str])] = &[
    ("edge-agent", "rusqlite", &["src/buffer", "benches/agent/durable"]),
    ("edge-agent", "rdkafka", &["src/ship/kafka", "benches/agent/drain"]),
    (
        "edge-agent",
        "quick_xml",
        &["src/format/poslog", "src/format/dsfinvk/index", "benches/agent/plain"],
    ),
    ("edge-agent", "zip", &["src/format/dsfinvk/archive", "benches/agent"]),
    ("edge-agent", "tar", &["src/format/dsfinvk/archive", "src/source/directory/bundle"]),
    ("edge-agent", "edifact_rs", &["src/format/edifact", "benches/agent/plain"]),
    ("edge-agent", "encoding_rs", &["src/format/stock_csv"]),
    (
        "edge-agent",
        "csv",
        &["src/format/dsfinvk/table", "src/format/stock_csv", "benches/agent/plain"],
    ),
    ("edge-agent", "csv_core", &["src/format/stock_csv"]),
    ("edge-agent", "criterion", &["benches/agent/formats"]),
    ("edge-agent", "notify", &["src/source/directory"]),
    ("edge-agent", "globset", &["src/config/sources/directory"]),
    ("edge-agent", "nix", &["src/source/directory", "src/buffer/room"]),
    ("edge-agent", "reqwest", &["src/source/http"]),
    ("edge-agent", "rustls", &["src/source/http", "src/source/tcp", "src/ship/pair"]),
    ("edge-agent", "rustls_native_certs", &["src/source/http"]),
    ("edge-agent", "tokio_serial", &["src/source/serial"]),
    ("edge-agent", "tokio_rustls", &["src/source/tcp"]),
    ("edge-agent", "socket2", &["src/source/tcp"]),
    ("edge-agent", "hmac", &["src/format/pseudonym", "src/buffer/repair/pages"]),
    ("edge-agent", "aes", &["src/buffer/repair/pages"]),
    ("edge-agent", "cbc", &["src/buffer/repair/pages"]),
    ("edge-agent", "regex_lite", &["src/format/receipt_text/pattern"]),
    ("edge-agent", "data_encoding", &["src/format/escpos/qr"]),
    ("edge-agent", "sd_notify", &["src/status"]),
    ("edge-agent", "ring", &["src/restore", "src/ship/pair", "src/source/http", "src/source/tcp"]),
    ("edge-agent", "x509_parser", &["src/ship/pair", "src/restore"]),
    ("central", "rdkafka", &["src/kafka"]),
    ("central", "kafka_protocol", &["src/topics", "src/kafka/admin"]),
    ("central", "deltalake", &["src/lake"]),
    ("central", "object_store", &["src/lake"]),
    ("central", "aws_lc_rs", &["src/tls"]),
    ("central", "axum", &["src/serve"]),
    ("central", "data_encoding", &["src/cli/deadletters"]),
    ("central", "prometheus_client", &["src/status"]),
    ("central", "refinery", &["src/store"]),
    ("central", "deadpool_postgres", &["src/store"]),
    ("fakes", "rcgen", &["src/authority"]),
    ("fakes", "parquet", &["src/oracle"]),
    ("fakes", "arrow", &["src/oracle"]),
    ("fakes", "indicatif", &["src/demo"]),
    ("fakes", "hyper", &["src/s3"]),
    ("fakes", "hyper_util", &["src/s3"]),
    ("fakes", "http_body_util", &["src/s3"]),
];

struct SourceFile {
    krate: String,
    /// The path within the crate, such as `src/ship/kafka.rs`.
    path: String,
    text: String,
}

impl SourceFile {
    /// The file without its tests.
    fn product(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap_or("")
    }

    /// The module of the crate's top level that the file belongs to.
    fn room(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }
}

#[derive(Default)]
struct Signatures {
    faults: Vec<String>,
}

impl Signatures {
    fn check(&mut self, signature: &syn::Signature, visibility: &syn::Visibility) {
        let name = &signature.ident;
        let typed = signature.inputs.iter().filter_map(|input| match input {
            syn::FnArg::Typed(typed) => Some(&*typed.ty),
            syn::FnArg::Receiver(_) => None,
        });
        let types: Vec<&syn::Type> = typed.collect();
        if types.len() > PARAMETERS_MAX {
            self.faults.push(format!("fn {name} has {} parameters", types.len()));
        }
        let is_bool =
            |ty: &&syn::Type| matches!(ty, syn::Type::Path(path) if path.path.is_ident("bool"));
        // A private function is read beside its callers; elsewhere `true` says nothing.
        let seen_elsewhere = !matches!(visibility, syn::Visibility::Inherited);
        if seen_elsewhere && types.iter().any(is_bool) {
            self.faults.push(format!("fn {name} takes a bool: name the two cases"));
        }
    }
}

impl<'ast> Visit<'ast> for Signatures {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig, &item.vis);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig, &item.vis);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

/// Finds long functions by their indentation, which rustfmt keeps: a function ends at the first
/// line that closes a brace where its own line begins.
fn long_functions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == closing).map_or(1, |at| at + 1);
        if length > FUNCTION_LINES_MAX {
            faults.push(format!("fn {name} has {length} lines"));
        }
    }
    faults
}

/// Returns the name of the function that a line begins and whose body ends on a later line.
fn function_name(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let (before, after) = words.split_once("fn ")?;
    let known = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe"];
    let modifiers = before.split_whitespace().all(|word| known.contains(&word));
    let one_line = words.ends_with('}') || words.ends_with(';');
    (modifiers && !one_line).then(|| after.split(['(', '<']).next().unwrap_or(after))
}

fn sizes(file: &SourceFile) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = file.product().lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{lines} lines before its tests"));
    }
    if !file.text.trim_start().starts_with("//!") && !file.text.starts_with("#![") {
        faults.push("does not open with `//!`: what is it for, what does it never do?".to_owned());
    }
    if let Some(name) = FORBIDDEN_NAMES.iter().find(|name| file.path.contains(&format!("/{name}")))
    {
        faults.push(format!("is called {name}, which says nothing"));
    }
    faults.extend(long_functions(file.product()));
    let mut signatures = Signatures::default();
    match syn::parse_file(file.product()) {
        Ok(parsed) => signatures.visit_file(&parsed),
        Err(error) => faults.push(format!("cannot be parsed: {error}")),
    }
    faults.extend(signatures.faults);
    faults
}

fn arrows(file: &SourceFile) -> Vec<String> {
    let Some((_, rooms)) = ARROWS.iter().find(|(krate, _)| *krate == file.krate) else {
        return Vec::new();
    };
    let Some((room, allowed)) = rooms.iter().find(|(room, _)| *room == file.room()) else {
        return Vec::new();
    };
    let named = rooms.iter().filter(|(other, _)| {
        file.product().lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && line.contains(&format!("crate::{other}"))
        })
    });
    named
        .filter(|(other, _)| other != room && !allowed.contains(other))
        .map(|(other, _)| format!("`{room}` names `{other}`; it may name {allowed:?}"))
        .collect()
}

fn homes(file: &SourceFile) -> Vec<String> {
    let strangers = HOMES.iter().filter(|(krate, library, places)| {
        let at_home = places.iter().any(|place| file.path.starts_with(place));
        let names = |line: &str| {
            let line = line.trim_start();
            let named = line.match_indices(&format!("{library}::")).any(|(at, _)| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            });
            !line.starts_with("//") && named
        };
        *krate == file.krate && !at_home && file.text.lines().any(names)
    });
    strangers
        .map(|(_, library, places)| format!("names {library}, which lives in {places:?}"))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn house() -> Vec<SourceFile> {
    let mut found = Vec::new();
    for krate in ["edge-agent", "central", "shared", "fakes"] {
        let base = root().join(krate);
        let mut paths = Vec::new();
        for folder in ["src", "benches"] {
            collect(&base.join(folder), &mut paths);
        }
        found.extend(paths.into_iter().map(|path| SourceFile {
            krate: krate.to_owned(),
            path: path.strip_prefix(&base).unwrap().display().to_string(),
            text: fs::read_to_string(&path).unwrap(),
        }));
    }
    found
}

#[test]
fn the_house_is_tidy() {
    let files = house();
    assert!(files.len() > 10, "the source files were not found below {}", root().display());
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let all = [sizes(file), arrows(file), homes(file)].concat();
            all.into_iter().map(move |fault| format!("{}/{}: {fault}", file.krate, file.path))
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dependency_between_crates_points_the_right_way() {
    let allowed = BTreeMap::from([
        ("shared", [].as_slice()),
        ("edge-agent", ["shared"].as_slice()),
        ("central", ["shared"].as_slice()),
        ("fakes", ["shared"].as_slice()),
    ]);
    for (krate, allowed) in &allowed {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for other in ["shared", "edge-agent", "central", "fakes"] {
            assert!(
                !dependencies.contains_key(other) || allowed.contains(&other),
                "{krate} depends on {other}, it may depend on {allowed:?}"
            );
        }
    }
}

#[test]
fn every_test_file_is_listed_in_its_binary() {
    for (krate, name) in
        [("edge-agent", "agent"), ("central", "service"), ("shared", "shared"), ("fakes", "fakes")]
    {
        let folder = root().join(krate).join("tests").join(name);
        let main = fs::read_to_string(folder.join("main.rs")).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "rs") && stem != "main" {
                assert!(main.contains(&format!("mod {stem};")), "{krate}: {stem} is not listed");
            }
        }
    }
}

/// A rule that cannot fire holds nothing: each is shown a text that breaks it.
#[test]
fn each_rule_fires() {
    let file = |krate: &str, path: &str, text: String| SourceFile {
        krate: krate.to_owned(),
        path: path.to_owned(),
        text,
    };
    let long = format!("//! x\nfn long() {{\n{}}}\n", "();\n".repeat(70));
    assert_eq!(sizes(&file("shared", "src/a.rs", long)), ["fn long has 72 lines"]);
    let flag = "//! x\nimpl A { pub fn set(&self, on: bool) {} }".to_owned();
    assert_eq!(sizes(&file("shared", "src/a.rs", flag)).len(), 1);
    let crowded = "//! x\nfn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}".to_owned();
    assert_eq!(sizes(&file("shared", "src/a.rs", crowded)), ["fn f has 6 parameters"]);
    let many = format!("//! x\n{}", "const A: u8 = 1;\n".repeat(500));
    assert_eq!(sizes(&file("shared", "src/a.rs", many)), ["501 lines before its tests"]);
    assert_eq!(sizes(&file("shared", "src/utils.rs", "fn f() {}".to_owned())).len(), 2);
    let upward = "//! x\nuse crate::ship::Shipper;".to_owned();
    assert_eq!(arrows(&file("edge-agent", "src/format/poslog.rs", upward)).len(), 1);
    let foreign = "//! x\nuse rusqlite::Connection;".to_owned();
    assert_eq!(homes(&file("edge-agent", "src/ship.rs", foreign.clone())).len(), 1);
    assert!(homes(&file("edge-agent", "src/buffer/keys.rs", foreign)).is_empty());
}
