//! What whoever stands in a store for the first time is told: a probe of each kind of source, of which
//! none is as it should be, and a start that cannot be.

use crate::calls::free_port;
use crate::world::World;

#[tokio::test]
async fn a_probe_of_each_kind_says_what_is_wrong_and_what_to_look_at() {
    let world = World::new();
    let closed = free_port();
    let serial = |device| ("serial", format!("device = \"{device}\""));
    let tcp = |mode, address: &str| ("tcp", format!("mode = \"{mode}\"\naddress = \"{address}\""));
    let to = format!("127.0.0.1:{closed}");
    let http = format!("cursor = \"version\"\nurl = \"http://{to}/?v={{version}}\"");
    let proxy = tcp("proxy", "127.0.0.1:0").1;
    let cases = [
        (("directory", "path = \"nothing\"".to_owned()), "is the share mounted"),
        (("directory", "path = \"edge.toml\"".to_owned()), "name the folder, not a file in it"),
        (("http", http), "does the till's program run?"),
        (tcp("client", &to), "does the till's program run?"),
        (tcp("server", "192.0.2.1:4001"), "this box has no such address"),
        (tcp("mirror", "192.0.2.1:4001"), "this box has no such address"),
        (("tcp", format!("{proxy}\nprinter = \"{to}\"")), "does the till's program run?"),
        (serial("/dev/serial/by-id/none"), "is the adapter plugged in?"),
        (serial("edge.toml"), "that is no serial port"),
    ];
    for (at, ((kind, keys), _)) in cases.iter().enumerate() {
        world.configure_source(&format!(
            "[[sources]]\nname = \"source-{at}\"\nkind = \"{kind}\"\nformat = \"jsonl\"\n{keys}\n"
        ));
    }
    let output = world.run(&["check", "--probe"]);
    let told = String::from_utf8(output.stdout).unwrap();
    for (at, (_, words)) in cases.iter().enumerate() {
        let wanted = format!("fault source source-{at}: ");
        let line = told.lines().find(|line| line.starts_with(&wanted));
        assert!(line.is_some_and(|line| line.contains(words)), "{words} is not in {told}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_second_agent_on_the_same_buffer_ends_and_says_why() {
    let world = World::new();
    let first = world.agent().await;
    let second = world.run(&["run"]);
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("an agent is already running on the buffer"), "{told}");
    assert!(first.stop().await.success());
}
