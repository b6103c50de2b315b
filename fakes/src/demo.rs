//! One simulated hour of three stores in about two minutes: real agents, a real broker, a real
//! Postgres, a real lake, and everything that goes wrong in a year. Ends with what was issued and
//! what arrived, to the cent. Knows the two programs only by their command lines.

mod figures;
mod measure;
mod programs;
mod report;
mod screen;
mod script;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use shared::time::Clock;
use tokio::time::{Instant, MissedTickBehavior};

use figures::Figures;
use report::{EXACT, Report};
use screen::Screen;
use script::{Length, script};
use stage::Stage;

/// How often the demo looks at its programs and moves its bar.
const TICK: Duration = Duration::from_millis(250);
/// How long the backlog may take to drain after the last minute, in real time.
const DRAIN: Duration = Duration::from_secs(150);

/// What to play and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stack's folder; a demo that was left there is removed.
    pub dir: PathBuf,
    /// Where edge-agent, central and fakes lie.
    pub programs: PathBuf,
    /// Simulated minutes, at least 10.
    pub minutes: u32,
}

/// Plays the demo and returns true where everything arrived to the cent. The stack stays for a look
/// around; after a failure or Ctrl-C it is taken down.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let length = Length::of(options.minutes);
    let mut stage = Stage::prepare(options, length).await?;
    let played = tokio::select! {
        played = play(&mut stage, length) => played,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match played {
        Ok(report) => {
            finish(&stage, &report)?;
            Ok(report.verdict == EXACT)
        }
        Err(error) => {
            stage.take_down().await.context("the stack could not be taken down")?;
            Err(error)
        }
    }
}

async fn play(stage: &mut Stage, length: Length) -> anyhow::Result<Report> {
    let mut screen = Screen::new(length.span().as_secs());
    screen.say(&format!(
        "playing {} simulated minutes of three stores at {} times the speed of life",
        length.minutes, length.speed
    ));
    screen.say(&format!(
        "{}  store {} has a till whose files come 20 minutes late; receipts are printed twice, files sent twice",
        stage.clock_text(),
        stage::LATE_STORE,
    ));
    stage.open_shops(length)?;
    let mut faults = script(length).into_iter().peekable();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stage.simulated() < length.span() {
        tick.tick().await;
        while let Some((_, fault)) = faults.next_if(|&(at, _)| at <= stage.simulated()) {
            screen.say(&format!("{}  {}", stage.clock_text(), fault.says()));
            stage.commit(fault).await?;
        }
        stage.watch().await?;
        screen.progress(stage.simulated().as_secs(), &stage.message());
    }
    for (_, fault) in faults {
        screen.say(&format!("{}  {}", stage.clock_text(), fault.says()));
        stage.commit(fault).await?;
    }
    stage.close_shops().await?;
    screen.say(&format!("{}  the shops are closed; the backlog drains", stage.clock_text()));
    drain(stage, &mut screen, length).await?;
    screen.finish();
    let figures = Figures::gather(stage).await?;
    Ok(figures.report(stage, length))
}

/// Waits until the oracle finds everything in place, or gives up and lets the report tell.
async fn drain(stage: &mut Stage, screen: &mut Screen, length: Length) -> anyhow::Result<()> {
    let deadline = Instant::now() + DRAIN;
    while Instant::now() < deadline {
        if stage.arrived().await? {
            return Ok(());
        }
        stage.watch().await?;
        screen.progress(length.span().as_secs(), &stage.message());
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

fn finish(stage: &Stage, report: &Report) -> anyhow::Result<()> {
    let path = stage.place().at("report.json");
    let json = serde_json::to_vec_pretty(report).context("the report is no JSON")?;
    std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    let screen = Screen::new(0);
    screen.finish();
    screen.say(&report.page());
    screen.say(&stage.look_around());
    screen.say(&report.last_line());
    Ok(())
}

/// Returns the simulation's start: far enough back that no simulated minute is ever ahead of the
/// broker's clock, on a full minute.
fn simulation_start(length: Length) -> shared::time::Timestamp {
    let back = length.span() + DRAIN * length.speed + Duration::from_secs(3600);
    Clock::real().now().minus(back).minute().start()
}
