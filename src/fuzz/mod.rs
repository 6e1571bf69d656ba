//! Damaged inputs for whatever reads what comes from outside: the tests whose names speak of panic.
//!
//! Such a test gives good inputs, and the parser: [`Fuzz`] makes damaged ones out of them (see [`corpus`]), and for each
//! holds that the parser neither panics nor takes more memory than an input of that length may cost, and that it ends.
//!
//! An ordinary run tries some two hundred inputs each, always the same. `WATCHFIRE_FUZZ_CASES=1000000` tries a million,
//! others in every run, and prints how many they were: a test whose cases are costly (a tree with a file for each of a
//! device's attributes, regular expressions to compile) ends with fewer, after [`LONG`]. A failure prints its seed, with
//! which `WATCHFIRE_FUZZ_SEED` tries that case alone.

mod corpus;
mod heap;

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use corpus::{Corpus, Random};
pub use heap::peak_of;

/// Cases of a test in an ordinary run, and its share of a CPU's time: there are a hundred tests, and builds without
/// optimizations.
const FEW: u64 = 200;
const SHORT: Duration = Duration::from_millis(100);
/// A test's share in a long run: a million cases of 100 microseconds, as a collector of ten files has.
const LONG: Duration = Duration::from_secs(100);
/// A case that takes longer does not end. The costliest take milliseconds, on a machine that may be busy.
const STUCK: Duration = Duration::from_secs(60);
/// Memory that a case may take, whatever its length.
const HEAP: usize = 1 << 20;
/// Memory for each byte of the input: a cell of two characters may become a series, with its labels and its text.
const HEAP_PER_BYTE: usize = 2_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Good inputs of a parser, and what it may cost.
pub struct Fuzz {
    corpus: Corpus,
    heap: usize,
}

impl Fuzz {
    pub fn of<S: AsRef<[u8]>>(good: &[S]) -> Fuzz {
        Fuzz { corpus: Corpus::of(good), heap: HEAP }
    }

    /// Words of the language that the good inputs do not have.
    pub fn words(mut self, words: &[&str]) -> Fuzz {
        self.corpus.add_words(words);
        self
    }

    /// A case may take so many bytes of memory, whatever its length.
    pub fn heap(mut self, bytes: usize) -> Fuzz {
        self.heap = bytes;
        self
    }

    /// Has damaged inputs parsed.
    #[track_caller]
    pub fn bytes(&self, mut parse: impl FnMut(&[u8])) {
        let mut input = Vec::new();
        let alone = number("WATCHFIRE_FUZZ_SEED").is_some();
        run(1, |random| {
            self.corpus.make(random, &mut input);
            let shown = Shown(&input);
            if alone {
                shown.show();
            }
            bounded(self.heap + HEAP_PER_BYTE * input.len(), || parse(&input));
            drop(shown);
        });
    }

    /// The same for a parser of text.
    #[track_caller]
    pub fn texts(&self, mut parse: impl FnMut(&str)) {
        self.bytes(|bytes| parse(&String::from_utf8_lossy(bytes)));
    }
}

/// Runs something that may take so many bytes of memory beyond what is taken already.
#[track_caller]
pub fn bounded<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    let (result, taken) = heap::peak_of(run);
    assert!(taken <= bytes, "{taken} bytes of memory are taken, {bytes} would be enough");
    result
}

/// What [`bounded`] allows for input of this length.
pub fn allowed(length: usize) -> usize {
    HEAP + HEAP_PER_BYTE * length
}

/// Runs rounds of `each` cases until there are as many cases as asked for, or their time is over.
#[track_caller]
pub fn run(each: u64, mut round: impl FnMut(&mut Random)) {
    let asked = number("WATCHFIRE_FUZZ_CASES");
    let (first, rounds, share) = match (number("WATCHFIRE_FUZZ_SEED"), asked) {
        (Some(seed), _) => (seed, 1, LONG),
        (None, None) => (0, FEW.div_ceil(each), SHORT),
        (None, Some(cases)) => (now_as_number(), cases.div_ceil(each), LONG),
    };
    let test = std::thread::current().name().filter(|name| *name != "main").map(str::to_string);
    let test = test.unwrap_or_else(|| Location::caller().to_string());
    let watch = Watch::start(&test);
    let start = cpu_time();
    let (mut done, mut last, mut slowest) = (0, Instant::now(), (Duration::ZERO, first));
    while done < rounds && (done % 16 != 0 && asked.is_some() || cpu_time() - start < share) {
        let seed = first.wrapping_add(done);
        watch.seed.store(seed, Ordering::Relaxed);
        let replay = Replay { test: &test, seed };
        round(&mut Random::new(seed));
        drop(replay);
        let now = Instant::now();
        slowest = slowest.max((now - last, seed));
        (done, last) = (done + 1, now);
    }
    if asked.is_some() {
        let (took, (longest, seed)) = (cpu_time() - start, slowest);
        let cases = done * each;
        eprintln!("fuzz: {cases} cases in {took:.1?}, {each} took up to {longest:.1?} (seed {seed}): {test}");
    }
}

fn now_as_number() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_nanos() as u64)
}

/// Of this thread: what others do on the machine must not make the cases fewer.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Says how to try the case again that panics.
struct Replay<'t> {
    test: &'t str,
    seed: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fuzz: {}: WATCHFIRE_FUZZ_SEED={} tries this case alone", self.test, self.seed);
        }
    }
}

/// An input, shown when it panics.
struct Shown<'i>(&'i [u8]);

impl Shown<'_> {
    fn show(&self) {
        let start = &self.0[..self.0.len().min(4096)];
        eprintln!("fuzz: {} bytes: b\"{}\"", self.0.len(), start.escape_ascii());
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
    }
}

/// Ends the process, with the seed, when a case does not end.
struct Watch {
    seed: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn start(test: &str) -> Watch {
        let watch = Watch { seed: Arc::default(), done: Arc::default() };
        let (seed, done, test) = (watch.seed.clone(), watch.done.clone(), test.to_string());
        std::thread::spawn(move || {
            let (mut last, mut since) = (None, Instant::now());
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let now = Some(seed.load(Ordering::Relaxed));
                if now != last {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > STUCK && !done.load(Ordering::Relaxed) {
                    eprintln!("fuzz: {test}: no end: WATCHFIRE_FUZZ_SEED={}", seed.load(Ordering::Relaxed));
                    std::process::abort();
                }
            }
        });
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input() {
        let corpus = Corpus::of(&["a 1\nb 22\n", "c{d=\"e\"} 3\n"]);
        let make = |seed| {
            let mut out = Vec::new();
            corpus.make(&mut Random::new(seed), &mut out);
            out
        };
        assert!((0..1000).all(|seed| make(seed) == make(seed)));
        let different: std::collections::HashSet<_> = (0..1000).map(make).collect();
        assert!(different.len() > 500, "{}", different.len());
    }

    #[test]
    fn memory_beyond_the_bound_is_seen_even_if_it_is_given_back() {
        let take = |bytes: usize| std::hint::black_box(vec![0u8; bytes]).len();
        assert_eq!(bounded(2000, || take(1000)), 1000);
        assert!(std::panic::catch_unwind(|| bounded(2000, || take(3000))).is_err());
    }
}
