//! The disk is dead, the box is new, the store is the same: with what the centre has, the tills' files
//! are read again and nothing counts twice.

use std::path::Path;

use fakes::authority::{Authority, Credentials};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use shared::delivered::{Delivered, DeliveredSeries, SignedDelivered};
use shared::minute::StoreMinute;

use crate::world::{World, lines, receipt, sums};

#[tokio::test]
async fn a_new_box_counts_only_what_the_centre_has_not() {
    let old = World::quick();
    let agent = old.agent().await;
    let mut day: Vec<_> =
        (1..=6).map(|n| receipt("3", n, &format!("09:{:02}:07", n / 2), 100)).collect();
    let mut named = receipt("3", 7, "09:04:07", 9);
    named.receipt = "A-7".parse().unwrap();
    day.push(named);
    old.drop_file("day.jsonl", lines(&day));
    old.until_cut(7, 609).await;
    assert!(agent.stop().await.success());
    // The last batch never arrived: it died with the disk.
    let mut arrived = old.batches();
    let lost = arrived.pop().unwrap();
    let (count, cents) = sums(std::slice::from_ref(&lost));

    let new = World::quick();
    let centre =
        Authority::open(&new.path("centre"), "the centre").unwrap().client("centre").unwrap();
    let file = write(&new, &centre, &delivered(&arrived));
    assert_eq!(refused(&new, &file), "names no `centre_certificate`");
    configure(&new, &centre.certificate);
    let said = new.json(&["restore", &file, "--json"]);
    assert_eq!(said["receipts"], 7 - count);
    new.drop_file("day.jsonl", lines(&day));
    let agent = new.agent().await;
    new.until_cut(count, cents).await;
    new.until("all is read", |report| report.duplicates == 7 - count).await;
    let batches = new.batches();
    assert_eq!(batches.len() as u64, count, "what may have been counted goes alone");
    assert_eq!(batches[0].predecessor, Some(lost.stream));
    let told = new.run(&["restore", &file]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("an agent is already running"));
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_file_that_the_centre_did_not_sign_for_this_store_changes_nothing() {
    let world = World::quick();
    let authority = Authority::open(&world.path("centre"), "the centre").unwrap();
    let centre = authority.client("centre").unwrap();
    configure(&world, &centre.certificate);
    let nothing = Delivered {
        store: "10".parse().unwrap(),
        stream: None,
        made_at: "2026-03-02T12:00:00Z".parse().unwrap(),
        tills: Vec::new(),
    };
    let foreign = authority.client("store-10").unwrap();
    assert_eq!(refused(&world, &write(&world, &foreign, &nothing)), "was not signed by the centre");
    let other = Delivered { store: "11".parse().unwrap(), ..nothing.clone() };
    assert_eq!(
        refused(&world, &write(&world, &centre, &other)),
        "is of store 11, this is store 10"
    );
    let file = write(&world, &centre, &nothing);
    let text = std::fs::read_to_string(&file).unwrap();
    for (changed, why) in [
        (text.replace("12:00:00", "12:00:01"), "was not signed by the centre"),
        (text.replace("\"signature\":\"30", "\"signature\":\"31"), "was not signed by the centre"),
        (text.replace("ecdsa", "rsa"), "its second line is not a signature"),
        (text.lines().next().unwrap().to_owned(), "it is not two lines"),
        (String::new(), "it is not two lines"),
    ] {
        std::fs::write(&file, changed).unwrap();
        assert_eq!(refused(&world, &file), why);
    }
    assert!(!world.path("buffer.db").exists());
}

/// Returns the known reason why a file is refused.
fn refused(world: &World, file: &str) -> &'static str {
    let output = world.run(&["restore", file]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let known = [
        "names no `centre_certificate`",
        "was not signed by the centre",
        "is of store 11, this is store 10",
        "its second line is not a signature",
        "it is not two lines",
    ];
    known.into_iter().find(|why| told.contains(why)).unwrap_or_else(|| panic!("{told}"))
}

fn configure(world: &World, certificate: &Path) {
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let config = format!("centre_certificate = \"{}\"\n{config}", certificate.display());
    std::fs::write(world.path("edge.toml"), config).unwrap();
}

/// Writes what the centre has, signed by its key.
fn write(world: &World, signer: &Credentials, delivered: &Delivered) -> String {
    let pem = std::fs::read_to_string(&signer.key).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let random = ring::rand::SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &random).unwrap();
    let unsigned = SignedDelivered::new(delivered.line(), Vec::new());
    let signature = key.sign(&random, &unsigned.signed_bytes()).unwrap().as_ref().to_vec();
    let path = world.path("delivered.json");
    std::fs::write(&path, SignedDelivered::new(delivered.line(), signature).text()).unwrap();
    path.display().to_string()
}

/// Sums up what batches hold, as the centre has it.
fn delivered(batches: &[StoreMinute]) -> Delivered {
    let mut tills: Vec<DeliveredSeries> = Vec::new();
    for batch in batches {
        for till in &batch.tills {
            let own =
                tills.iter().position(|it| (&it.till, &it.series) == (&till.till, &till.series));
            let own = own.unwrap_or_else(|| {
                tills.push(DeliveredSeries {
                    till: till.till.clone(),
                    series: till.series.clone(),
                    receipts: Default::default(),
                    receipt_ids: Vec::new(),
                    numbers_without_sale: Default::default(),
                    first_minute: batch.minute,
                    last_minute: batch.minute,
                });
                tills.len() - 1
            });
            let own = &mut tills[own];
            own.receipt_ids.extend(till.receipt_ids.iter().cloned());
            till.receipts.iter().for_each(|(first, last)| own.receipts.insert_range(first, last));
            own.last_minute = own.last_minute.max(batch.minute);
            own.first_minute = own.first_minute.min(batch.minute);
        }
    }
    Delivered {
        store: batches[0].store.clone(),
        stream: Some(batches[0].stream),
        made_at: "2026-03-02T12:00:00Z".parse().unwrap(),
        tills,
    }
}
