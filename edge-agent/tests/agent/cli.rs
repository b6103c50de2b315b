//! The command line: exit statuses, and what is said.

use crate::world::{World, lines, receipt};

#[tokio::test]
async fn a_wrong_configuration_names_every_fault_and_exits_with_2() {
    let world = World::new();
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let wrong = config.replace("store = \"10\"", "store = \"a/b\"\nclock_file = \"absent\"");
    let wrong = wrong.replace("format = \"jsonl\"", "format = \"poslog\"");
    std::fs::write(world.path("edge.toml"), wrong).unwrap();
    for arguments in [["run"].as_slice(), &["check"], &["status"], &["buffer", "stats"]] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        for part in [
            "edge.toml: clock_file: cannot read the clock file",
            "edge.toml: store: \"a/b\" is not the store's id such as \"0417\"",
            "edge.toml: sources[0].format: poslog needs a dialect",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
    }
    assert!(!world.path("buffer.db").exists());
    assert_eq!(world.run(&["no-such-command"]).status.code(), Some(2));
}

#[tokio::test]
async fn status_and_buffer_say_what_the_agent_holds() {
    let world = World::new();
    assert_eq!(world.run(&["status"]).status.code(), Some(1));
    let absent = world.run(&["buffer", "stats"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("there is no buffer"));
    let agent = world.agent().await;
    let day = [receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:41:17", 20)];
    world.drop_file("day.jsonl", lines(&day));
    world.until("the batch waits", |report| report.status.backlog == 1).await;
    let status = world.json(&["status", "--json"]);
    assert_eq!(status["status"]["tills"][0]["receipt"], "2");
    assert_eq!(status["status"]["store"], "10");
    let listed = world.json(&["buffer", "list", "--json"]);
    assert_eq!(listed[0]["total_cents"], 120);
    assert_eq!(listed[0]["acknowledged_at"], serde_json::Value::Null);
    let shown = world.json(&["buffer", "show", "1", "--json"]);
    assert_eq!(shown["body"]["tills"][0]["receipt_count"], 2);
    assert_eq!(shown["headers"][0][0], "ce_specversion");
    assert_eq!(world.run(&["buffer", "show", "2"]).status.code(), Some(1));
    let text = String::from_utf8(world.run(&["buffer", "list"]).stdout).unwrap();
    assert!(text.contains("waits"), "{text}");
    let down = |report: &edge_agent::status::Report| format!("{:?}", report.link).contains("Down");
    world.until("the broker is named as the trouble", down).await;
    assert!(agent.stop().await.success());
}
