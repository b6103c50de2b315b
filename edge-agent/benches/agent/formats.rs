//! The pure stages: bytes become receipts, receipts become the body of a minute.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use edge_agent::aggregate::fold::{Folder, Frame, Rung};
use edge_agent::format::{Choice, Format};
use fakes::shop::Country;
use shared::ids::{Sequence, StreamId};
use shared::receipt::Receipt;
use shared::words::BatchKind;

use crate::inputs::{self, Input};
use crate::plain::Plain;
use crate::table::{Row, Table};

/// Receipts of an input: a few megabytes in most formats.
const RECEIPTS: usize = 1_500;
/// Receipts of one minute: more than a store rings up, less than one batch holds.
const OF_A_MINUTE: usize = 200;
const MEGABYTE: f64 = 1e6;

/// Measures each decoder beside the plain reading of its bytes.
pub(crate) fn decoding(table: &mut Table) {
    let mut criterion = criterion();
    let mut all = inputs::all(RECEIPTS);
    all.extend(real_export());
    for input in all {
        let mut group = group(&mut criterion, &input.name);
        group.throughput(Throughput::Bytes(input.bytes.len() as u64));
        group.bench_function("agent", |bencher| bencher.iter(|| black_box(input.read())));
        group.bench_function("plain", |bencher| {
            bencher.iter(|| black_box(input.plain.read(black_box(&input.bytes))));
        });
        group.finish();
        let megabytes = input.bytes.len() as f64 / MEGABYTE;
        let (agent, plain) = (seconds(&input.name, "agent"), seconds(&input.name, "plain"));
        table.add(Row {
            part: "formats",
            per_second: Some(input.read().items as f64 / agent),
            what: input.name,
            value: megabytes / agent,
            unit: "MB/s",
            plain: Some(megabytes / plain),
            beside: input.plain.name(),
        });
    }
}

/// Measures how fast receipts become the body of their minute.
pub(crate) fn aggregating(table: &mut Table) {
    let mut criterion = criterion();
    let receipts = inputs::receipts(Country::Germany, OF_A_MINUTE);
    let mut group = group(&mut criterion, "aggregate");
    group.throughput(Throughput::Elements(OF_A_MINUTE as u64));
    group.bench_function("agent", |bencher| {
        bencher.iter_batched(
            || receipts.clone(),
            |receipts| black_box(folded(receipts)),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
    let rate = OF_A_MINUTE as f64 / seconds("aggregate", "agent");
    let what = "receipts of one minute into one body";
    table.add(Row::alone("aggregate", what, (rate, "receipts/s"), "no library does it"));
}

fn folded(receipts: Vec<Receipt>) -> usize {
    let (minute, day) = (receipts[0].ended_at.minute(), receipts[0].business_day);
    let frame = Frame {
        store: inputs::store(),
        stream: StreamId::new(receipts[0].ended_at),
        first: Sequence::FIRST,
        minute,
        business_day: day,
        kind: BatchKind::Original,
        complete_through: None,
    };
    let mut folder = Folder::new(frame, BTreeMap::new());
    let bodies = receipts
        .into_iter()
        .filter_map(|receipt| folder.add(Rung::Receipt(Box::new(receipt)), 2_000))
        .count();
    bodies + usize::from(folder.finish().is_some())
}

/// The real export of a grocery store, where the folder of samples lies beside the repository.
fn real_export() -> Option<Input> {
    let file = "../../shared/data/pos/poslog/ncr-acs-grocery/POSLog.redacted.xml";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is absent", path.display());
        return None;
    };
    let dialect = Some("ncr-acs");
    let format = Format::find(Choice { name: "poslog", dialect, settings: None }).unwrap();
    let store = "9".parse().unwrap();
    let context = inputs::context(store, chrono_tz::America::New_York);
    Some(Input {
        name: "poslog/ncr-acs, a real export".to_owned(),
        format,
        context,
        bytes,
        plain: Plain::Xml,
    })
}

fn criterion() -> Criterion {
    Criterion::default()
        .without_plots()
        .output_directory(&folder())
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(plain_name(name));
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// Criterion makes folders of names.
fn plain_name(name: &str) -> String {
    name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-")
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../criterion")
}

/// Returns the median of what criterion has measured, in seconds.
fn seconds(group: &str, function: &str) -> f64 {
    let path = folder().join(plain_name(group)).join(function).join("new/estimates.json");
    let text = std::fs::read(&path).unwrap();
    let estimates: serde_json::Value = serde_json::from_slice(&text).unwrap();
    estimates["median"]["point_estimate"].as_f64().unwrap() / 1e9
}
