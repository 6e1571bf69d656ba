//! Random expressions over random series, evaluated by the agent's engine and by Prometheus' own.
//!
//! The peer is a program of a page around Prometheus' engine (`main.go` beside this file), built from source where there
//! is a Go toolchain and kept under the target directory; `WATCHFIRE_PROMQL_PEER` names one that is built already.
//! `WATCHFIRE_PROMQL_SEED` begins with another seed, `WATCHFIRE_PROMQL_SECONDS` goes on for longer than 20 seconds, and
//! `WATCHFIRE_PROMQL_EXPR` evaluates one expression, over the data of the seed.

mod compare;
mod data;
mod expressions;
mod peer;
mod random;

use std::env;
use std::time::{Duration, Instant};

use compare::Verdict;
use data::Data;
use expressions::Generator;
use peer::{Peer, Request};
use random::Random;

/// Expressions over the data of one seed.
const PER_SEED: usize = 200;

/// Differences that are shown.
const SHOWN: usize = 20;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is not a number: {v}")))
}

#[test]
fn expressions_give_what_prometheus_gives() {
    let Some(mut peer) = Peer::start() else { return };
    let first = number("WATCHFIRE_PROMQL_SEED").unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(number("WATCHFIRE_PROMQL_SECONDS").unwrap_or(20));
    let fixed = env::var("WATCHFIRE_PROMQL_EXPR").ok();
    let mut failures = Vec::new();
    let (mut expressions, mut errors, mut undetermined, mut empty) = (0, 0, 0, 0);
    for seed in first.. {
        let mut random = Random::new(seed);
        let data = Data::random(&mut random);
        peer.load(&data);
        let history = data.history();
        for _ in 0..PER_SEED {
            let expr = Generator::new(&mut random.fork()).expression();
            let mut request = Request::random(&mut random, expr);
            if let Some(expr) = &fixed {
                request.expr.clone_from(expr);
            }
            let ours = compare::evaluate(&history, &request);
            let mut theirs = peer.ask(&request);
            let mut verdict = compare::compare(&ours, &theirs);
            // Where Prometheus goes through a map, what it gives may hang on the order of that.
            let mut answers = vec![theirs.clone()];
            for _ in 0..8 {
                if verdict != Verdict::Different {
                    break;
                }
                theirs = peer.ask(&request);
                verdict = compare::compare(&ours, &theirs);
                if verdict == Verdict::Different && answers.iter().any(|a| *a != theirs) {
                    verdict = Verdict::Undetermined;
                }
                answers.push(theirs.clone());
            }
            expressions += 1;
            match verdict {
                Verdict::Same => empty += usize::from(ours.series.is_empty()),
                Verdict::BothFail => errors += 1,
                Verdict::Undetermined => undetermined += 1,
                Verdict::Different => {
                    failures.push(format!("seed {seed}: {request}\nours:   {ours}\ntheirs: {theirs}"))
                }
            }
        }
        if Instant::now() > until || failures.len() > SHOWN || fixed.is_some() {
            break;
        }
    }
    println!(
        "{expressions} expressions: {errors} failed in both, {empty} gave nothing in both, {undetermined} hang on the \
         order of a map, {} differ",
        failures.len()
    );
    failures.truncate(SHOWN);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
