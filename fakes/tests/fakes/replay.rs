//! Real receipt lines become store-minutes with the known totals, the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fakes::replay::{batches, read, receipts, to_folder};
use fakes::truth::{self, Entry};
use shared::ids::{StoreId, StreamId};
use shared::minute::StoreMinute;

const HEAD: &str = "timestamp,utc_offset,store,receipt,customer,product,quantity,amount_cents,\
    loyalty_discount_cents,mfr_coupon_cents,coupon_match_cents\n";

/// Lines, receipts, pieces, cents.
type Sums = [i64; 4];

#[test]
fn lines_of_a_receipt_come_together_with_discounts_coupons_and_odd_numbers() {
    let rows = "2017-01-01T00:30:27,-0500,319,0031,906,1075313,1,150,29,20,5\n\
        2017-01-01T00:30:27,-0500,319,0031,906,0099,2,100,0,0,0\n\
        2017-01-01T00:30:40,-0500,319,3.1e+10,906,0099,0,0,0,0,0\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.csv");
    fs::write(&file, format!("{HEAD}{rows}")).unwrap();
    let made = made(&file);
    assert_eq!(made, self::made(&file), "the same batches each time");
    assert_eq!(made.len(), 1);
    let till = &made[0].tills[0];
    assert_eq!(made[0].minute.to_string(), "2017-01-01T05:30:00Z");
    assert_eq!(made[0].business_day.to_string(), "2017-01-01");
    assert_eq!((till.receipts.count(), till.receipt_ids.len(), till.receipt_count), (1, 1, 2));
    assert!(till.receipts.contains(31));
    assert_eq!(
        serde_json::to_value(&till.payments).unwrap(),
        serde_json::json!([
            {"kind": "voucher", "cents": 20}, {"kind": "other", "cents": 230}
        ])
    );
    let articles: Vec<&str> = made[0].sales.iter().map(|row| row.article.as_str()).collect();
    assert_eq!(articles, ["own:replay:0099", "own:replay:1075313"]);
    assert_eq!((made[0].sales[0].lines, made[0].sales[1].discount_cents.0), (2, 34));
}

#[test]
fn a_file_that_is_no_list_of_lines_is_refused_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.csv");
    let good = "2017-01-01T00:30:27,-0500,319,31,906,7,1,150,29,20,5\n";
    for (bad, said) in [
        (
            "2017-01-01T00:30:27,-0500,319,31,906,7,one,150,29,20,5\n",
            "row 2 is no line of a receipt",
        ),
        (
            "2017-01-01 00:30,-0500,319,31,906,7,1,150,29,20,5\n",
            "row 2: \"2017-01-01 00:30 -0500\" is no time",
        ),
        (
            "2017-01-01T00:30:27,-0500,../3,31,906,7,1,150,29,20,5\n",
            "row 2: a store id holds the character '/'",
        ),
    ] {
        fs::write(&file, format!("{HEAD}{good}{bad}")).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
    fs::write(&file, format!("{HEAD}{good}{}", good.replace("00:30", "00:31"))).unwrap();
    let error = receipts(read(&file).unwrap().0).unwrap_err().to_string();
    assert_eq!(error, "receipt 31 has lines of different times");
}

#[test]
fn the_real_lines_give_the_known_totals_per_day_store_and_product() {
    let Some(data) = data() else { return };
    let made = made(&data.join("lines.csv.gz"));
    let [lines, receipts, _, cents] = total(&made);
    assert_eq!((lines, receipts, cents), (75_000, 47_243, 23_393_524));
    assert_eq!(made.iter().map(|batch| &batch.store).collect::<BTreeSet<_>>().len(), 293);
    let by_day =
        golden(&data.join("golden_daily.csv"), ["lines", "receipts", "qty", "amount_cents"]);
    assert_eq!(grouped(&made, |batch| batch.business_day.to_string()), by_day);
    let by_store =
        golden(&data.join("golden_by_store.csv"), ["lines", "receipts", "", "amount_cents"]);
    let mut found = grouped(&made, |batch| batch.store.to_string());
    found.values_mut().for_each(|sums| sums[2] = 0);
    assert_eq!(found, by_store);
    let by_product =
        golden(&data.join("golden_by_product.csv"), ["lines", "", "qty", "amount_cents"]);
    assert_eq!(products(&made), by_product);
}

#[test]
fn a_store_as_till_files_has_the_same_truth_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.csv");
    let rows = "2017-01-01T00:30:27,-0500,319,31,906,7,1,150,29,20,5\n\
        2017-01-02T00:30:27,-0500,319,32,906,7,1,150,29,20,5\n\
        2017-01-02T00:30:27,-0500,320,33,906,7,1,150,29,20,5\n";
    fs::write(&file, format!("{HEAD}{rows}")).unwrap();
    let (store, tills) = (StoreId::new("319").unwrap(), folder.path().join("tills/319"));
    for _ in 0..2 {
        let issued = to_folder(folder.path(), &file, (&store, &tills)).unwrap();
        assert_eq!((issued.batches, issued.receipts, issued.total_cents), (2, 2, 300));
        let mut known = Vec::new();
        truth::read(folder.path(), |entry| known.push(entry)).unwrap();
        assert_eq!(known.len(), 2);
        assert!(
            known.iter().all(|entry| matches!(entry, Entry::Receipt(_)) && *entry.store() == store)
        );
        assert_eq!(fs::read_dir(&tills).unwrap().count(), 2);
    }
    let absent = StoreId::new("1").unwrap();
    let error = to_folder(folder.path(), &file, (&absent, &tills)).unwrap_err().to_string();
    assert!(error.ends_with("holds no line of store 1"), "{error}");
}

fn made(file: &Path) -> Vec<StoreMinute> {
    let (lines, _) = read(file).unwrap();
    let stores = receipts(lines).unwrap();
    let stream = StreamId::from_uuid(uuid::Uuid::from_u128(1));
    let streams = stores.keys().map(|store| (store.clone(), stream)).collect();
    batches(&stores, &streams).collect()
}

fn sums(batch: &StoreMinute) -> Sums {
    let lines: u64 = batch.sales.iter().map(|row| row.lines).sum();
    let receipts: u64 = batch.tills.iter().map(|till| till.receipt_count).sum();
    let milli: i64 = batch.sales.iter().map(|row| row.quantity_milli.0).sum();
    let cents: i64 = batch.tills.iter().map(|till| till.total_cents.0).sum();
    [lines.cast_signed(), receipts.cast_signed(), milli / 1000, cents]
}

fn add(sums: &mut Sums, more: Sums) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn total(made: &[StoreMinute]) -> Sums {
    let mut total = Sums::default();
    made.iter().for_each(|batch| add(&mut total, sums(batch)));
    total
}

fn grouped(made: &[StoreMinute], key: impl Fn(&StoreMinute) -> String) -> BTreeMap<String, Sums> {
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    for batch in made {
        add(groups.entry(key(batch)).or_default(), sums(batch));
    }
    groups
}

fn products(made: &[StoreMinute]) -> BTreeMap<String, Sums> {
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    for row in made.iter().flat_map(|batch| &batch.sales) {
        let product = row.article.as_str().strip_prefix("own:replay:").unwrap().to_owned();
        let sums = [row.lines.cast_signed(), 0, row.quantity_milli.0 / 1000, row.amount_cents.0];
        add(groups.entry(product).or_default(), sums);
    }
    groups
}

/// Reads a table of known totals; a column without a name is not in it.
fn golden(path: &Path, columns: [&str; 4]) -> BTreeMap<String, Sums> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names = reader.headers().unwrap().clone();
    let at = columns.map(|column| names.iter().position(|name| name == column));
    let mut known = BTreeMap::new();
    for row in reader.records() {
        let row = row.unwrap();
        let sums = at.map(|at| at.map_or(0, |at| row[at].parse().unwrap()));
        known.insert(row[0].to_owned(), sums);
    }
    known
}

/// Returns the folder of the real lines, or says that it is absent.
#[allow(clippy::print_stderr, reason = "what is skipped is said plainly")]
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("FRISCHMARKT_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data/retail/completejourney_sample");
    if !folder.exists() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}
