//! The command line as a person uses it: what it prints and how it ends.

use std::process::{Command, Output};

use crate::ingest_world::{Running, World};

pub(crate) fn central(world: &World, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_central"))
        .arg("--config")
        .arg(&world.config_file)
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_rights_are_made_once_and_corrected_after() {
    let world = World::new("topics_apply").await;
    let first = central(&world, &["topics", "apply", "--store", "0417"]);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains(&format!("topic {}", world.topic)), "{}", text(&first));
    let right = format!("created          User:store-0417 may write topic {}", world.topic);
    assert!(text(&first).contains(&right), "{}", text(&first));
    let second = central(&world, &["topics", "apply", "--store", "0417"]);
    let lines: Vec<String> = text(&second).lines().map(str::to_owned).collect();
    assert!(lines.len() > 20, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("as it should be")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_reachable_and_fails_where_something_is_not() {
    let world = World::new("check").await;
    let good = central(&world, &["check"]);
    assert!(good.status.success(), "{}", text(&good));
    for part in ["ok      kafka", "ok      postgres", "ok      lake"] {
        assert!(text(&good).contains(part), "{part} is not in {}", text(&good));
    }
    let config = std::fs::read_to_string(&world.config_file).unwrap();
    let port = format!("port = {}", world.database.access().port);
    std::fs::write(&world.config_file, config.replace(&port, "port = 1")).unwrap();
    let bad = central(&world, &["check"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("FAILED  postgres: "), "{}", text(&bad));
    assert!(text(&bad).contains("ok      kafka"), "{}", text(&bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_configuration_is_told_whole_and_ends_with_2() {
    let world = World::new("faulty").await;
    let config = std::fs::read_to_string(&world.config_file).unwrap();
    let faulty = config.replace("partitions = 3", "partitions = 0\nwhat = 1") + "[nothing]\n";
    std::fs::write(&world.config_file, faulty).unwrap();
    let output = central(&world, &["check"]);
    assert_eq!(output.status.code(), Some(2));
    for part in ["central.toml", "kafka.partitions", "from 1 to 10000", "kafka.what", "nothing"] {
        assert!(text(&output).contains(part), "{part} is not in {}", text(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing() {
    let world = World::new("migrate").await;
    let output = central(&world, &["migrate"]);
    assert!(output.status.success() && text(&output).contains("up to date"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_shown_with_bytes_and_reasons() {
    let world = World::new("letters").await;
    world.send_raw(b"10", &[("ce_id".to_owned(), "x".to_owned())], b"{\"store\":\"10\"").await;
    let running = Running::start(&world.config);
    world.until_judged(1).await;
    running.stop().await;
    let list = central(&world, &["deadletters", "list"]);
    assert!(text(&list).contains("headers") && text(&list).contains("schema"), "{}", text(&list));
    let id = world.number("SELECT id FROM dead_letter").await.to_string();
    let shown = central(&world, &["deadletters", "show", &id, "--json"]);
    let letter: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(letter["body"], "{\"store\":\"10\"");
    assert_eq!(letter["headers"][0]["name"], "ce_id");
    assert!(letter["reasons"].as_array().unwrap().len() > 1);
    let plain = central(&world, &["deadletters", "show", &id]);
    assert!(text(&plain).contains("schema: at"), "{}", text(&plain));
    let absent = central(&world, &["deadletters", "show", "999999"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent).contains("there is no dead letter 999999"), "{}", text(&absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_ends_on_sigterm() {
    let world = World::new("sigterm").await;
    world.send_all("10", 1..=3).await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_central"))
        .arg("--config")
        .arg(&world.config_file)
        .args(["run", "--roles", "ingest"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    world.until_judged(3).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(crate::ingest_world::SOON, child.wait()).await.unwrap();
    assert!(ended.unwrap().success());
}
