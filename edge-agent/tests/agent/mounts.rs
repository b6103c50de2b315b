//! Folders as they lie in stores: mounted for reading alone, a share that goes away and comes back,
//! more happening than hints can tell, and a crowd of files that are none of ours.

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use fakes::wait;

use crate::world::{SOON, World, lines, receipt};

/// Files that come at once: several times what the kernel's hints may wait for.
const AT_ONCE: u32 = 5000;

/// Files that lie in a folder and are not ours.
const STRANGERS: u32 = 100_000;

#[tokio::test]
async fn a_folder_that_is_mounted_for_reading_alone_is_read_and_left_as_it_is() {
    let world = World::new();
    let share = world.path("share");
    std::fs::create_dir(&share).unwrap();
    let day = [receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:41:17", 20)];
    std::fs::write(share.join("a.jsonl"), lines(&day[..1])).unwrap();
    let state = || {
        let meta = std::fs::metadata(share.join("a.jsonl")).unwrap();
        (meta.ino(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
    };
    let before = state();
    let mount = "mount --bind share tills && mount -o remount,bind,ro tills && ! touch tills/x";
    let Some(_agent) = Mounted::start(&world, mount).await else { return };
    world.until_cut(1, 100).await;
    std::fs::write(share.join("b.jsonl"), lines(&day[1..])).unwrap();
    world.until_cut(2, 120).await;
    assert_eq!(state(), before);
    assert_eq!(std::fs::read_dir(&share).unwrap().count(), 2);
}

#[tokio::test]
async fn a_share_that_is_unmounted_is_down_and_goes_on_when_it_is_back() {
    let world = World::new();
    let day = [1, 2, 3].map(|number| receipt("3", number, "09:41:07", 100));
    for (name, text) in [("a", lines(&day[..2])), ("b", lines(&day[2..]))] {
        std::fs::write(world.path(name), text).unwrap();
    }
    let mount = "mount -t tmpfs share tills && cp a tills/a.jsonl";
    let Some(agent) = Mounted::start(&world, mount).await else { return };
    world.until_cut(2, 200).await;
    world.until("it is read to its end", |report| report.status.sources[0].up).await;
    // Whoever looks into it just then holds it up.
    let look = async || if agent.inside("umount tills") { Ok(()) } else { Err("busy".to_owned()) };
    wait::until("the share is unmounted", SOON, look).await.unwrap();
    let is_down = |error: &String| error.contains("is empty, though 1 files of it are known");
    world
        .until("the source is down", |report| report.status.sources[0].error.iter().any(is_down))
        .await;
    assert!(agent.inside("mount -t tmpfs share tills && cp a tills/a.jsonl && cp b tills/b.jsonl"));
    world.until_cut(3, 300).await;
    world.until("the source is up again", |report| report.status.sources[0].up).await;
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn more_files_at_once_than_hints_can_tell_of_are_all_read() {
    let world = World::new();
    let _agent = world.agent().await;
    for number in 0..AT_ONCE {
        let text = lines(&[receipt("3", number + 1, "09:41:07", 1)]);
        std::fs::write(world.path(&format!("tills/{number:05}.jsonl")), text).unwrap();
    }
    world.until_cut(AT_ONCE.into(), AT_ONCE.into()).await;
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn a_crowd_of_files_that_are_not_ours_costs_no_memory_and_hides_no_receipt() {
    let world = World::new();
    world.configure_source("pattern = [\"*.jsonl\"]\n");
    let agent = world.agent().await;
    world.until("the folder was read", |report| report.status.complete_through.is_some()).await;
    let empty = world.memory_kib();
    for number in 0..STRANGERS {
        std::fs::File::create(world.path(&format!("tills/{number:06}.log"))).unwrap();
    }
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    assert!(agent.stop().await.success());
    // One that starts sees them all at once.
    let agent = world.agent().await;
    world.drop_file("b.jsonl", lines(&[receipt("3", 2, "09:41:07", 20)]));
    world.until_cut(2, 120).await;
    let crowded = world.memory_kib();
    eprintln!("{STRANGERS} files of others: {crowded} KiB, {empty} KiB without");
    assert!(crowded < empty + 4096, "{crowded} KiB after {empty} KiB");
    assert!(agent.stop().await.success());
}

/// An agent that sees mounts of its own; killed when dropped.
struct Mounted(Child);

impl Mounted {
    /// Mounts, in the box's folder, and starts the agent; nothing where the kernel permits no mounts.
    async fn start(world: &World, mount: &str) -> Option<Self> {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount"]).stdin(Stdio::null());
            command
        };
        let permitted = unshare().arg("true").stderr(Stdio::null()).status();
        if !permitted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: the kernel permits no mounts of one's own (unshare)");
            return None;
        }
        let log = std::fs::File::options().create(true).append(true).open(world.path("log"));
        let script = format!("{mount} && exec \"$0\" --config edge.toml run");
        let mut command = unshare();
        command.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_edge-agent")]);
        command.current_dir(world.path("")).stdout(Stdio::null()).stderr(log.unwrap());
        let agent = Self(command.spawn().unwrap());
        world.until("the agent is up", |report| report.pid == agent.0.id()).await;
        Some(agent)
    }

    /// Does something where the agent sees it; tells whether that went well.
    fn inside(&self, script: &str) -> bool {
        let mut command = Command::new("nsenter");
        let target = self.0.id().to_string();
        command.args(["--target", &target, "--user", "--mount", "--preserve-credentials"]);
        let folder = std::fs::read_link(format!("/proc/{target}/cwd")).unwrap();
        // The folder of whoever enters is one of the mounts outside.
        command.args(["sh", "-c", &format!("cd '{}' && {script}", folder.display())]);
        command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may have ended already; either way none is left behind.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
