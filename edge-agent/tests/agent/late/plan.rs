//! What a seed makes happen: what is rung up, how late it comes, and what the clocks show.

use std::collections::BTreeMap;

use edge_agent::aggregate::clock::Step;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use shared::receipt::Receipt;

use super::{BURSTS, HOURS, LATEST_DAYS, NIGHTS, Place, Sums, seconds, time};
use crate::telegram::wrap;

/// A receipt as it was rung up, in numbers alone.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) till: usize,
    pub(super) number: usize,
    /// When it ended by its till's clock, in seconds since 1970.
    pub(super) ended: i64,
    pub(super) cents: i64,
    pub(super) pieces: i64,
    /// When it came, by a clock that is right, and whether the agent's clock was then.
    pub(super) came: i64,
    pub(super) clock_is_right: bool,
}

/// What happens in the agent's life.
pub(super) struct Happening {
    pub(super) at: i64,
    pub(super) what: What,
}

pub(super) enum What {
    /// It starts anew; what the clock shows then stands in the plan.
    Boot,
    /// A till hands over what is new, as chunks of its format.
    Burst(Vec<Chunk>),
}

/// Bytes of a till.
pub(super) struct Chunk {
    pub(super) till: usize,
    pub(super) bytes: Vec<u8>,
}

/// The agent's clock from an instant on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) from: i64,
    /// How far it is off, in seconds.
    pub(super) off: i64,
    pub(super) step: Step,
}

pub(super) struct Plan {
    pub(super) begin: i64,
    pub(super) end: i64,
    /// The instant at which clocks are moved.
    pub(super) night: i64,
    pub(super) shown: Vec<Shown>,
    pub(super) issued: Vec<Issued>,
    pub(super) happenings: Vec<Happening>,
}

impl Plan {
    pub(super) fn draw(seed: u64, random: &mut ChaCha8Rng) -> Self {
        let night = seconds(NIGHTS[usize::try_from(seed % 2).unwrap()]);
        let begin = night - (HOURS / 2) * 3600;
        let last = begin + HOURS * 3600;
        let end = last + LATEST_DAYS * 86_400 + 7200;
        let boots = Self::boots(begin, last, random);
        let mut plan = Self {
            begin,
            end,
            night,
            shown: Self::clock(seed, begin, last, &boots, random),
            issued: Vec::new(),
            happenings: Vec::new(),
        };
        for at in boots {
            plan.happenings.push(Happening { at, what: What::Boot });
        }
        let bursts: Vec<i64> = (0..BURSTS).map(|_| random.random_range(last..end - 7200)).collect();
        for till in 1..=2 {
            plan.ring_up(till, &bursts, random);
        }
        plan.ring_up_by_local_time(random);
        plan.hand_over(random);
        plan.happenings.sort_by_key(|happening| happening.at);
        plan
    }

    fn boots(begin: i64, last: i64, random: &mut ChaCha8Rng) -> Vec<i64> {
        let count = random.random_range(1..5);
        (0..count).map(|_| random.random_range(begin + 7200..last)).collect()
    }

    /// Draws what the agent's clock shows. Every fourth seed has a clock that is always right.
    fn clock(
        seed: u64,
        begin: i64,
        last: i64,
        boots: &[i64],
        random: &mut ChaCha8Rng,
    ) -> Vec<Shown> {
        let right = |from| Shown { from, off: 0, step: Step::Unknown };
        let mut shown = vec![right(begin)];
        if seed % 4 == 1 {
            // A new box, before it has heard the time for the first time.
            let off = -begin;
            shown = vec![Shown { off, ..right(begin) }, right(begin + 900)];
        }
        if seed.is_multiple_of(4) {
            return shown;
        }
        for _ in 0..random.random_range(1..4) {
            let from = random.random_range(begin + 7200..last);
            let off = if random.random_bool(0.5) { 86_400 } else { -86_400 };
            let step = if random.random_bool(0.5) { Step::Out } else { Step::Unknown };
            shown.push(Shown { from, off, step });
            let back = from + random.random_range(60..12 * 3600);
            let step = if random.random_bool(0.5) { Step::In } else { Step::Unknown };
            shown.push(Shown { step, ..right(back) });
        }
        for &boot in boots {
            if random.random_bool(0.3) {
                continue;
            }
            shown.push(Shown { from: boot, off: -boot, step: Step::Unknown });
            shown.push(right(boot + random.random_range(30..1200)));
        }
        shown.sort_by_key(|shown| shown.from);
        shown
    }

    /// Tills that write what they know of time, and hand over in any order.
    fn ring_up(&mut self, till: usize, bursts: &[i64], random: &mut ChaCha8Rng) {
        let clock_runs_wrong = self.shown.len() == 1;
        for number in 1..=150 {
            let at = random.random_range(self.begin..self.begin + HOURS * 3600);
            let came = match random.random_range(0..10) {
                0..5 => at + random.random_range(1..20),
                5..7 => at + random.random_range(60..3600),
                _ => bursts
                    .iter()
                    .copied()
                    .filter(|&burst| burst > at)
                    .min_by_key(|_| random.random_range(0..1000))
                    .unwrap(),
            };
            let jumped = random.random_bool(0.1);
            let wrong = match (jumped, clock_runs_wrong) {
                (true, true) if random.random_bool(0.5) => 86_400,
                (true, _) => -86_400,
                (false, _) => 0,
            };
            self.issue(till, number, (at + wrong, came), random);
        }
    }

    /// A till that writes local time, whose business day ends at 02:00, and that hands over in order:
    /// an hour that comes twice is told apart by that.
    fn ring_up_by_local_time(&mut self, random: &mut ChaCha8Rng) {
        let mut number = 0;
        for start in [self.begin, self.night - 2 * 3600, self.night + 3 * 3600] {
            let came = start + 3 * 3600 + random.random_range(0..2) * 86_400;
            let came =
                came.max(self.issued.last().map_or(0, |it| if it.till == 3 { it.came } else { 0 }));
            for at in (0..25).map(|step| start + step * 420) {
                number += 1;
                self.issue(3, number, (at, came), random);
            }
        }
    }

    fn issue(
        &mut self,
        till: usize,
        number: usize,
        (ended, came): (i64, i64),
        random: &mut ChaCha8Rng,
    ) {
        let cents = random.random_range(1..99_999);
        let pieces = random.random_range(1..5);
        let clock_is_right = self.shown.len() == 1;
        self.issued.push(Issued { till, number, ended, cents, pieces, came, clock_is_right });
    }

    /// Makes bursts of what comes at the same time; some of it comes twice.
    fn hand_over(&mut self, random: &mut ChaCha8Rng) {
        let mut by_time: BTreeMap<i64, Vec<&Issued>> = BTreeMap::new();
        for issued in &self.issued {
            by_time.entry(issued.came).or_default().push(issued);
        }
        let mut happenings = Vec::new();
        for (at, mut together) in by_time {
            if random.random_bool(0.1) {
                let again = random.random_range(0..self.issued.len());
                let again = &self.issued[again];
                // A second copy comes later than the first.
                if again.came < at && again.till != 3 {
                    together.push(again);
                }
            }
            let chunk = |till: usize| {
                let of_till = together.iter().filter(|it| it.till == till);
                let bytes = of_till.flat_map(|issued| self.bytes(issued)).collect();
                Chunk { till, bytes }
            };
            let chunks = (1..=3).map(chunk).filter(|chunk| !chunk.bytes.is_empty()).collect();
            happenings.push(Happening { at, what: What::Burst(chunks) });
        }
        self.happenings.extend(happenings);
    }

    /// Writes a receipt as its till does.
    fn bytes(&self, issued: &Issued) -> Vec<u8> {
        let Issued { till, number, ended, cents, pieces, .. } = issued;
        if *till == 3 {
            let local = time(ended + self.local_offset(*ended)).utc();
            let amount = format!("{},{:02}", cents / 100, cents % 100);
            let text = format!(
                "K;3;{number};{};V\rP;4006381333931;{pieces};ST;{amount};A;V\rS;{amount}",
                local.format("%d.%m.%y;%H:%M:%S")
            );
            return wrap("stx-etx", "xor", text.as_bytes());
        }
        let (day, at) = (self.business_day(issued), time(*ended));
        let json = format!(
            r#"{{"store":"10","till":"{till}","series":"{day}","receipt":"{number}",
            "business_day":"{day}","ended_at":"{at}","counts":true,
            "lines":[{{"position":1,"article":"own:x:1","kind":"sale","unit":"pcs",
            "quantity_milli":{},"amount_cents":{cents}}}],"total_cents":{cents}}}"#,
            pieces * 1000
        );
        let receipt: Receipt = serde_json::from_str(&json).unwrap();
        (serde_json::to_string(&receipt).unwrap() + "\n").into_bytes()
    }

    /// Germany is two hours ahead in summer, else one.
    fn local_offset(&self, at: i64) -> i64 {
        let spring = time(self.night).utc().format("%m").to_string() == "03";
        let summer = (at >= self.night) == spring;
        if summer { 7200 } else { 3600 }
    }

    /// Till 1 books by the calendar, the others until two in the night.
    fn business_day(&self, issued: &Issued) -> String {
        let night = if issued.till == 1 { 0 } else { 7200 };
        let local = issued.ended + self.local_offset(issued.ended) - night;
        time(local).utc().format("%Y-%m-%d").to_string()
    }

    /// Computes what the receipts sum up to, and how many are moved since their till ran ahead.
    pub(super) fn computed(&self) -> (BTreeMap<Place, Sums>, usize) {
        let (mut wanted, mut moved) = (BTreeMap::new(), 0);
        for issued in &self.issued {
            let ahead = issued.clock_is_right && issued.ended > issued.came + 600;
            moved += usize::from(ahead);
            let at = if ahead { issued.came } else { issued.ended };
            let minute = time(at - at.rem_euclid(60)).to_string();
            let place = (minute, self.business_day(issued), issued.till.to_string());
            let sums: &mut Sums = wanted.entry(place).or_default();
            *sums = (
                sums.0 + 1,
                sums.1 + issued.cents,
                sums.2 + issued.cents,
                sums.3 + issued.pieces * 1000,
            );
        }
        (wanted, moved)
    }
}
