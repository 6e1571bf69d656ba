//! A world with a seed: alerts fire, resolve and flap, by rules and by others; sinks fail and refuse; the agent crashes, is
//! stopped and gets other configurations; clocks jump; people silence, expire, and try again what was given up. After the
//! last fault, all that was due must have arrived, in order, and everybody must know how things stand.
//!
//! A run is half a minute of simulated time with a fault every few seconds (now and then ten minutes, so that what is
//! refused is given up), gone through from event to event until all is calm. One that fails prints its seed;
//! `WATCHFIRE_SIMULATION_SEED=n` replays it and says what happens, `WATCHFIRE_SIMULATION_RUNS=n` makes more or fewer.

mod check;
mod config;
mod counts;
mod happen;
mod source;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use counts::Counts;
use world::World;

/// Without optimisation a run takes a millisecond of one core.
const RUNS: u64 = 100_000;

/// splitmix64.
pub(in crate::alerting) struct Random(u64);

impl Random {
    pub fn of(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

fn run(seed: u64, talks: bool) -> Counts {
    let mut world = World::new(seed, talks);
    // Long enough now and then for what is refused to be given up. The number of runs counts more than their length.
    world.go_on(if seed.is_multiple_of(128) { 10 * 60_000 } else { 10_000 + seed % 20 * 1_000 });
    world.end_faults();
    world.settle();
    world.check();
    world.counts
}

#[test]
fn after_any_faults_all_that_was_due_has_arrived_in_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WATCHFIRE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("WATCHFIRE_SIMULATION_RUNS").unwrap_or(RUNS) + 1,
    };
    let replay = seeds.end - seeds.start == 1;
    let (seeds, total, failed) = (Mutex::new(seeds), Mutex::new(Counts::default()), AtomicBool::new(false));
    let next =
        || seeds.lock().unwrap_or_else(PoisonError::into_inner).next().filter(|_| !failed.load(Ordering::Relaxed));
    let work = || {
        let mut counts = Counts::default();
        while let Some(seed) = next() {
            match catch_unwind(AssertUnwindSafe(|| run(seed, replay))) {
                Ok(of_run) => counts.add(&of_run),
                Err(panic) => {
                    failed.store(true, Ordering::Relaxed);
                    eprintln!("replay with WATCHFIRE_SIMULATION_SEED={seed}");
                    resume_unwind(panic);
                }
            }
        }
        total.lock().unwrap().add(&counts);
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let counts = total.into_inner().unwrap();
    eprintln!("{counts:?}");
    assert!(replay || counts.all_happened(), "something is not simulated: {counts:?}");
}
