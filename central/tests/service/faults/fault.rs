//! The faults by name. Each strikes once: it breaks something, sends a part of the load meanwhile,
//! and mends it. It asserts only what is special to it; the proof of a run is its end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fakes::process::Ending;
use fakes::s3::proxy::Failure;
use fakes::stack::Server;
use fakes::wait;
use rand::Rng;
use tokio::process::Command;

use super::centre::member;
use super::draw::Sending;
use super::gate::Gate;
use super::run::Run;
use super::store_faults;
use crate::ingest_faults::delete_before;
use crate::ingest_world::SOON;

/// Held back in each direction by a slow line; a batch takes some fifteen questions.
const SLOW: Duration = Duration::from_millis(10);
/// The longest file that a full disk takes: less than any table's file.
const FULL_AT_BYTES: u32 = 2_000;

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    RebalanceStorm,
    CommitAnswerLost,
    KilledBeforeStoring,
    KilledWhileStoring,
    KilledInCommit,
    KilledAnywhere,
    Zombies,
    RetentionGap,
    BrokerRestart,
    PostgresRestart,
    PostgresCut,
    PostgresSlow,
    LakeUnwritable,
    LakeDiskFull,
    LakeKilledInCommit,
    StoreErrors,
    StoreBusy,
    StoreSilent,
    StoreUnconfirmed,
    StoreCutsAnswers,
    StoreCutsBodies,
    StoreKilledInCommit,
    StoreAtRandom,
    NameTaken,
}

/// Where the lake of a run lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Folder,
    S3,
}

impl Fault {
    pub(super) const ALL: [Self; 24] = [
        Self::RebalanceStorm,
        Self::CommitAnswerLost,
        Self::KilledBeforeStoring,
        Self::KilledWhileStoring,
        Self::KilledInCommit,
        Self::KilledAnywhere,
        Self::Zombies,
        Self::RetentionGap,
        Self::BrokerRestart,
        Self::PostgresRestart,
        Self::PostgresCut,
        Self::PostgresSlow,
        Self::LakeUnwritable,
        Self::LakeDiskFull,
        Self::LakeKilledInCommit,
        Self::StoreErrors,
        Self::StoreBusy,
        Self::StoreSilent,
        Self::StoreUnconfirmed,
        Self::StoreCutsAnswers,
        Self::StoreCutsBodies,
        Self::StoreKilledInCommit,
        Self::StoreAtRandom,
        Self::NameTaken,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RebalanceStorm => "members join and leave every second",
            Self::CommitAnswerLost => "the line is cut between COMMIT and its answer",
            Self::KilledBeforeStoring => "killed between validating and storing",
            Self::KilledWhileStoring => "killed while storing",
            Self::KilledInCommit => "killed between COMMIT and its answer",
            Self::KilledAnywhere => "killed at random moments",
            Self::Zombies => "three writers on every partition",
            Self::RetentionGap => "unread records deleted by the broker",
            Self::BrokerRestart => "the broker restarts",
            Self::PostgresRestart => "Postgres restarts",
            Self::PostgresCut => "the line to Postgres is cut",
            Self::PostgresSlow => "Postgres is slow",
            Self::LakeUnwritable => "the lake's log cannot be written",
            Self::LakeDiskFull => "the lake's disk is full",
            Self::LakeKilledInCommit => "killed within a commit of the lake",
            Self::StoreErrors => "the object store answers 500",
            Self::StoreBusy => "the object store answers 503",
            Self::StoreSilent => "the object store never answers",
            Self::StoreUnconfirmed => "the object store does it and answers 500",
            Self::StoreCutsAnswers => "the object store does it and cuts the line",
            Self::StoreCutsBodies => "the object store cuts what it sends",
            Self::StoreKilledInCommit => "killed within a commit to the object store",
            Self::StoreAtRandom => "the object store fails at random",
            Self::NameTaken => "another program takes its name in the group",
        }
    }

    /// Tells where the lake must lie for it.
    pub(super) fn lake_in(self) -> Option<Place> {
        match self {
            Self::LakeUnwritable | Self::LakeDiskFull | Self::LakeKilledInCommit => {
                Some(Place::Folder)
            }
            Self::StoreErrors
            | Self::StoreBusy
            | Self::StoreSilent
            | Self::StoreUnconfirmed
            | Self::StoreCutsAnswers
            | Self::StoreCutsBodies
            | Self::StoreKilledInCommit
            | Self::StoreAtRandom => Some(Place::S3),
            Self::RebalanceStorm
            | Self::CommitAnswerLost
            | Self::KilledBeforeStoring
            | Self::KilledWhileStoring
            | Self::KilledInCommit
            | Self::KilledAnywhere
            | Self::Zombies
            | Self::RetentionGap
            | Self::BrokerRestart
            | Self::PostgresRestart
            | Self::PostgresCut
            | Self::PostgresSlow
            | Self::NameTaken => None,
        }
    }

    /// Breaks something, sends the part, and mends it.
    pub(super) async fn strike(self, run: &mut Run, part: &[Sending]) {
        match self {
            Self::RebalanceStorm => rebalance_storm(run, part).await,
            Self::CommitAnswerLost => lose_the_answer(run, part).await,
            Self::KilledBeforeStoring => kill_at(Gate::Claim, run, part).await,
            Self::KilledWhileStoring => kill_at(Gate::Rows, run, part).await,
            Self::KilledInCommit => kill_at(Gate::Commit, run, part).await,
            Self::KilledAnywhere => kill_anywhere(run, part).await,
            Self::Zombies => zombies(run, part).await,
            Self::RetentionGap => retention_gap(run, part).await,
            Self::BrokerRestart => restart(Server::Kafka, run, part).await,
            Self::PostgresRestart => restart(Server::Postgres, run, part).await,
            Self::PostgresCut => {
                run.centre.link.cut();
                run.send(part).await;
                run.centre.link.heal().await;
            }
            Self::PostgresSlow => {
                run.centre.link.delay(SLOW);
                run.send(part).await;
                run.until_judged().await;
                run.centre.link.heal().await;
            }
            Self::LakeUnwritable => unwritable(run, part).await,
            Self::LakeDiskFull => disk_full(run, part).await,
            Self::LakeKilledInCommit => kill_in_lake_commit(run, part).await,
            Self::StoreErrors => store_faults::outage(Failure::Error, run, part).await,
            Self::StoreBusy => store_faults::outage(Failure::Busy, run, part).await,
            Self::StoreSilent => store_faults::outage(Failure::Silent, run, part).await,
            Self::StoreUnconfirmed => {
                store_faults::unconfirmed_by_chance(Failure::DoneButError, run, part).await;
            }
            Self::StoreCutsAnswers => {
                store_faults::unconfirmed_by_chance(Failure::DoneButCut, run, part).await;
            }
            Self::StoreCutsBodies => store_faults::cut_bodies(run, part).await,
            Self::StoreKilledInCommit => {
                let way = [Failure::Silent, Failure::DoneButSilent][run.chance.random_range(0..2)];
                store_faults::kill_in_commit(way, run, part).await;
            }
            Self::StoreAtRandom => store_faults::at_random(run, part).await,
            Self::NameTaken => take_the_name(run, part).await,
        }
    }
}

async fn rebalance_storm(run: &mut Run, part: &[Sending]) {
    let third = part.len().div_ceil(3);
    for piece in part.chunks(third) {
        let mut second = member(&run.world, None);
        run.send(piece).await;
        second.lives(Duration::from_millis(run.chance.random_range(100..1_000))).await;
        // One leaves in order, the next is gone.
        if run.chance.random() { second.stop().await } else { second.die().await }
    }
}

/// The line is cut while the server is within COMMIT: it commits, and nobody hears of it.
async fn lose_the_answer(run: &mut Run, part: &[Sending]) {
    let shut = Gate::Commit.shut(&run.world).await;
    run.send(part).await;
    shut.until_reached().await;
    run.centre.link.refuse().await;
    shut.open().await;
    run.centre.link.heal().await;
}

async fn kill_at(gate: Gate, run: &mut Run, part: &[Sending]) {
    let shut = gate.shut(&run.world).await;
    run.send(part).await;
    shut.until_reached().await;
    run.centre.kill().await;
    shut.open().await;
    run.centre.start();
}

async fn kill_anywhere(run: &mut Run, part: &[Sending]) {
    let third = part.len().div_ceil(3);
    for piece in part.chunks(third) {
        run.send(piece).await;
        let lives = Duration::from_millis(run.chance.random_range(0..900));
        run.centre.kill_after(lives).await;
        run.centre.start();
    }
}

/// Two more groups read everything and write it into the same database.
async fn zombies(run: &mut Run, part: &[Sending]) {
    let (second, third) = (member(&run.world, Some("-b")), member(&run.world, Some("-c")));
    run.send(part).await;
    run.until_judged().await;
    second.stop().await;
    third.die().await;
}

/// A second program of the same name puts the first out of its groups, which must come back.
async fn take_the_name(run: &mut Run, part: &[Sending]) {
    let before = run.centre.said(PUT_OUT);
    let second = run.centre.second(&run.world);
    run.send(part).await;
    // As a judge and as a follower.
    run.centre.until_said(PUT_OUT, before + 1).await;
    second.die().await;
}

const PUT_OUT: &str = "put out of the group";

/// The partition stops with one alarm and skips nothing; an operator lets it go on, and the agent
/// sends again what was lost.
async fn retention_gap(run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    run.centre.kill().await;
    let judged_in: BTreeSet<i32> = run.judged_partitions().await;
    let all = run.send(part).await;
    let Some(first) = all.iter().find(|lies| judged_in.contains(&lies.partition)) else {
        // Where nothing was judged, nothing is known that could be missing.
        return run.centre.start();
    };
    let own: Vec<_> = all.iter().filter(|lies| lies.partition == first.partition).collect();
    let lost = &own[..run.chance.random_range(1..=own.len())];
    let low = lost.last().map(|lies| lies.offset + 1).unwrap();
    delete_before(&run.world, first.partition, low).await;
    let alarms = run.centre.said("ALARM");
    run.centre.start();
    run.centre.until_said("ALARM", alarms).await;
    run.records -= i64::try_from(lost.len()).unwrap();
    assert_eq!(run.judged_from(first.partition, first.offset).await, 0, "nothing is skipped");
    run.centre.kill().await;
    assert_eq!(run.centre.said("ALARM"), alarms + 1, "one alarm: {}", run.centre.tail());
    let partition = first.partition.to_string();
    let resume = ["topics", "resume", &partition, "--reason", "retention passed it"];
    let said = run.centre.command(&resume).await;
    assert!(said.contains(&format!("reads on at {low}")), "{said}");
    run.centre.start();
    let again: Vec<Sending> = lost.iter().map(|lies| lies.sending.clone()).collect();
    run.send(&again).await;
}

async fn restart(server: Server, run: &mut Run, part: &[Sending]) {
    let how = if run.chance.random() { Ending::Killed } else { Ending::Asked };
    let stack = run.world.stack;
    assert!(stack.stop(server, how).await.unwrap(), "it ran");
    let half = part.len() / 2;
    match server {
        // Nothing can be sent while the broker is away.
        Server::Kafka | Server::S3 => {
            assert!(stack.start(server).await.unwrap(), "it was away");
            run.world.connect_anew();
        }
        Server::Postgres => {
            run.send(&part[..half]).await;
            assert!(stack.start(server).await.unwrap(), "it was away");
            run.reconnect().await;
            run.send(&part[half..]).await;
            return;
        }
    }
    run.send(part).await;
}

/// A table's data files can be written, its log cannot.
async fn unwritable(run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    let table = ["sales", "tills", "stock_movements"][run.chance.random_range(0..3)];
    let log = run.lake().join(table).join("_delta_log");
    let away = log.with_file_name("away");
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "no folder").unwrap();
    until_lake_fails(run, part).await;
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
}

/// No file can grow beyond some bytes, so that data files break off in their middle.
async fn disk_full(run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    run.centre.kill().await;
    let limit = format!("--fsize={FULL_AT_BYTES}:unlimited");
    run.centre.start_under(&["env", "--ignore-signal=XFSZ", "prlimit", &limit]);
    until_lake_fails(run, part).await;
    let pid = run.centre.pid().to_string();
    let lift = ["--pid", &pid, "--fsize=unlimited:unlimited"];
    let lifted = Command::new("prlimit").args(lift).status().await.unwrap();
    assert!(lifted.success(), "the limit is lifted");
}

/// The lake fails, and holds nobody back: Postgres takes everything meanwhile.
async fn until_lake_fails(run: &mut Run, part: &[Sending]) {
    let news = run.brings_news(part);
    let before = run.centre.said(LAKE_WAITS);
    run.send(part).await;
    run.until_judged().await;
    if news {
        run.centre.until_said(LAKE_WAITS, before).await;
    }
}

pub(super) const LAKE_WAITS: &str = "the lake waits and tries again";

/// Killed as soon as a data file is there that no log names yet, or a moment later.
async fn kill_in_lake_commit(run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    let (news, before) = (run.brings_news(part), data_files(&run.lake()));
    run.send(part).await;
    if news {
        let appears = wait::until("a data file appears", SOON, async || {
            let now = data_files(&run.lake());
            if now > before { Ok(()) } else { Err(format!("{now} files")) }
        });
        appears.await.unwrap_or_else(|late| panic!("{late}: {}", run.centre.tail()));
    }
    let lives = Duration::from_millis(run.chance.random_range(0..60));
    run.centre.kill_after(lives).await;
    run.centre.start();
}

fn data_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let inside = paths.iter().filter(|path| path.is_dir()).map(|path| data_files(path));
    let own = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    inside.sum::<usize>() + own.count()
}
