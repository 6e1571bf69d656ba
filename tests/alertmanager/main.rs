//! The same alerts and silences to the routing core and to Debian's `prometheus-alertmanager`: the same notifications
//! come out, in the same order, for each of the configurations in [`cases`].
//!
//! Alertmanager runs for a minute, with intervals of seconds. The core is taken through an hour of simulated time, with
//! intervals that are as many minutes. Scripts are random, from a seed; one whose outcome would depend on a third of a
//! second more or less is not used, since an Alertmanager beside other work may be late by that.
//!
//! Three things are different on purpose, and do not happen in the scripts. An alert whose end nobody was told of, because it
//! was silenced, muted or inhibited, is news when it fires again; Alertmanager leaves it to the repeat interval. An end that
//! was told is not told once more with others of its group when somebody posts it again. And a repetition that is due at
//! the very moment at which a group is looked at comes then or the next time: in Alertmanager milliseconds decide.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod ours;
mod payload;
mod script;
mod theirs;

use std::thread;

use cases::{CASES, Case};
use common::{Receiver, peer};
use payload::{Message, difference};
use script::{LENGTH, Script};

/// Alertmanager's second is so many of ours.
const SCALE: f64 = 60.0;
/// An Alertmanager that had no CPU for a while tells nothing of ours: such a case has further goes.
const GOES: usize = 3;

#[test]
fn an_hour_of_alerts_is_told_as_alertmanager_tells_it() {
    let Some(program) = peer("prometheus-alertmanager") else { return };
    const { assert!(CASES.len() >= 30) };
    let only = std::env::var("WATCHFIRE_CASE").ok();
    let mut left: Vec<&'static Case> =
        CASES.iter().filter(|c| only.as_deref().is_none_or(|name| c.name == name)).collect();
    let (cases, mut told) = (left.len(), 0);
    for go in 1..=GOES {
        let hook = Receiver::start();
        let scripts: Vec<Script> = thread::scope(|scope| {
            let running: Vec<_> = left.iter().map(|case| scope.spawn(|| Script::robust(case))).collect();
            running.into_iter().map(|one| one.join().expect("there is a script")).collect()
        });
        // All at the same time: they mostly wait.
        let (program, hook) = (program.as_path(), &hook);
        let theirs: Vec<Vec<Message>> = thread::scope(|scope| {
            let play = move |(case, script): (&&'static Case, &Script)| {
                theirs::Peer::start(program, case, hook).play(case, script, hook)
            };
            let running: Vec<_> = left.iter().zip(&scripts).map(|one| scope.spawn(move || play(one))).collect();
            running.into_iter().map(|one| one.join().expect("a case ends")).collect()
        });
        let mut failed = Vec::new();
        for ((case, script), theirs) in left.iter().zip(&scripts).zip(&theirs) {
            let ours = ours::play(case, script, 0.2);
            match difference(&ours, theirs) {
                None => told += ours.len(),
                Some(said) if go == GOES => panic!("{}, seed {}:\n{script}\n{said}", case.name, script.seed),
                Some(said) => {
                    eprintln!("{}, seed {}, go {go}: {said}", case.name, script.seed);
                    failed.push(*case);
                }
            }
        }
        left = failed;
        if left.is_empty() {
            break;
        }
    }
    println!("{cases} configurations, {LENGTH} minutes of simulated time each: {told} notifications, all equal");
    assert!(only.is_some() || told > cases * 8, "a test of silence tests nothing");
}
