//! Commands that stay.

use std::sync::{Arc, Mutex};

use super::*;

/// A stream that writes down what it is told.
fn stream(task: Task, framing: Framing) -> (Stream, Arc<Mutex<Vec<String>>>) {
    let frames = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&frames);
    let stream = Stream::new(task, framing, move |frame| {
        kept.lock().unwrap().push(String::from_utf8_lossy(frame.bytes).into_owned());
    });
    (stream.pauses(Backoff::fixed(Duration::from_millis(10))), frames)
}

#[tokio::test]
async fn each_line_is_given_as_it_comes_and_the_stream_takes_no_place() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let (stream, frames) = stream(sh("echo one; sleep 0.05; echo two; exec sleep 1000"), Framing::Lines);
    let handle = pool.stream(stream).unwrap();
    until("both came", || frames.lock().unwrap().len() == 2).await;
    assert_eq!(*frames.lock().unwrap(), ["one", "two"]);
    assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success());
    assert_eq!(metric(&registry, "watchfire_pool_streams"), 1.0);
    assert!(handle.cancel());
    assert!(matches!(handle.wait().await.status, Status::Cancelled));
    until("it is gone", || metric(&registry, "watchfire_pool_streams") == 0.0).await;
    assert!(!handle.cancel());
}

#[tokio::test]
async fn a_stream_that_ends_is_started_again_and_each_end_is_told() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let (stream, frames) =
        stream(sh("echo 'a 1'; echo 'b 2'; echo '# EOF'; echo failed >&2; exit 3").id("s"), Framing::Blocks);
    let ends = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&ends);
    let stream = stream.on_end(move |outcome, _| kept.lock().unwrap().push(outcome.status.to_string()));
    pool.stream(stream).unwrap();
    until("it has run three times", || ends.lock().unwrap().len() >= 3).await;
    let latest = pool.latest("s").unwrap();
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    assert!(frames.lock().unwrap().iter().all(|frame| frame == "a 1\nb 2\n# EOF\n"));
    assert!(ends.lock().unwrap().iter().take(3).all(|end| end == "exited with code 3"));
    assert!(latest.before.iter().all(|run| matches!(run.status, Status::Exited(3))));
    assert!(metric(&registry, "watchfire_pool_streams_restarted_total") >= 2.0);
}

#[tokio::test]
async fn the_end_of_a_stream_is_one_that_others_can_wait_for() {
    let pool = pool(1);
    let (first, _) = stream(sh("exec sleep 1000").id("s"), Framing::Lines);
    let first = pool.stream(first).unwrap();
    let after = pool.submit(sh("true").after(&[&first])).unwrap();
    let needs = pool.submit(sh("true").after_success(&[&first])).unwrap();
    pool.schedule("follows", Schedule::After("s".into()), || Task::command(["true"])).unwrap();
    assert!(after.wait_timeout(Duration::from_millis(50)).await.is_none());
    first.cancel();
    assert!(after.wait_timeout(LONG).await.expect("it is told").success());
    assert!(matches!(needs.wait().await.status, Status::Skipped { .. }));
    until("its follower has run", || pool.latest("follows").is_some()).await;
    // Each time it ends, not only the last time.
    let (again, _) = stream(sh("exit 1").id("again"), Framing::Lines);
    pool.schedule("each", Schedule::After("again".into()), || Task::command(["true"])).unwrap();
    pool.stream(again).unwrap();
    until("it has run twice", || pool.latest("each").is_some_and(|each| !each.before.is_empty())).await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_stream_outlives_a_panic_of_who_reads_it() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let stream = Stream::new(sh("echo bad; echo good"), Framing::Lines, move |frame| {
        assert_ne!(frame.bytes, b"bad", "in a callback");
        kept.lock().unwrap().push(String::from_utf8_lossy(frame.bytes).into_owned());
    });
    let stream = stream.pauses(Backoff::fixed(Duration::from_millis(10))).on_end(|_, _| panic!("in a callback"));
    pool.stream(stream).unwrap();
    until("it has come twice", || lines.lock().unwrap().len() >= 2).await;
    assert_eq!(metric(&registry, "watchfire_pool_streams"), 1.0);
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn it_is_seen_whether_a_stream_runs_or_waits_for_its_next_start() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let (runs, _) = stream(sh("exec sleep 1000"), Framing::Lines);
    let (pauses, _) = stream(sh("exit 1"), Framing::Lines);
    pool.stream(runs).unwrap();
    pool.stream(pauses.pauses(Backoff::fixed(LONG))).unwrap();
    let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let both = "watchfire_pool_streams{state=\"paused\"} 1\nwatchfire_pool_streams{state=\"running\"} 1\n";
    until("both are there", || text().contains(both)).await;
    let mut pauses: Vec<bool> = pool.view().streams.iter().map(|stream| stream.state == "pauses").collect();
    pauses.sort_unstable();
    assert_eq!(pauses, [false, true]);
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_stream_is_asked_to_speak_by_a_newline_or_a_signal() {
    let every = Duration::from_millis(20);
    let pool = pool(1);
    let (asked, answers) = stream(sh("while read line; do echo \"[$line]\"; done"), Framing::Lines);
    pool.stream(asked.tick(Tick::Newline(every))).unwrap();
    let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo usr2' USR2; while :; do sleep 0.01; done";
    for (tick, said) in [(Tick::Hup(every), "hup"), (Tick::Usr1(every), "usr1"), (Tick::Usr2(every), "usr2")] {
        // The first signals may come before the shell has set its traps, and end it.
        let (signalled, signals) = stream(sh(script), Framing::Lines);
        pool.stream(signalled.tick(tick)).unwrap();
        until("it has answered", || signals.lock().unwrap().len() >= 2).await;
        assert!(signals.lock().unwrap().iter().all(|line| line == said));
    }
    until("it has answered", || answers.lock().unwrap().len() >= 3).await;
    assert!(answers.lock().unwrap().iter().all(|line| line == "[]"));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn garbage_without_end_and_lines_without_end_are_cut_and_of_errors_the_last_are_kept() {
    let registry = Registry::new();
    let pool = pool_with(config(1), &registry);
    let script = "head -c 3000000 /dev/urandom; head -c 100000 /dev/zero; seq 1 100000 >&2; exit 1";
    let task = sh(script).output_limit(1000).id("garbage");
    let longest = Arc::new(Mutex::new(0));
    let kept = Arc::clone(&longest);
    let stream = Stream::new(task, Framing::Blocks, move |frame| {
        let mut longest = kept.lock().unwrap();
        *longest = frame.bytes.len().max(*longest);
    });
    pool.stream(stream).unwrap();
    until("it has ended", || pool.latest("garbage").is_some()).await;
    assert_eq!(*longest.lock().unwrap(), 1000);
    assert!(metric(&registry, "watchfire_pool_frames_cut_total") >= 1.0);
    let latest = pool.latest("garbage").unwrap();
    assert!(latest.outcome.stderr.text().ends_with("99999\n100000\n") && latest.outcome.stderr.truncated);
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_looked_for_again_and_what_is_no_command_is_refused() {
    let pool = pool(1);
    let (missing, _) = stream(Task::command(["no-such-command"]).id("missing"), Framing::Lines);
    pool.stream(missing).unwrap();
    until("it was tried again", || pool.latest("missing").is_some_and(|latest| latest.before.len() >= 2)).await;
    let (call, _) = stream(Task::call("x", |_| Ok(Vec::new())), Framing::Lines);
    assert_eq!(pool.stream(call).map(|handle| handle.number()), Err(SubmitError::NoCommand));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    let (late, _) = stream(sh("true"), Framing::Lines);
    assert_eq!(pool.stream(late).map(|handle| handle.number()), Err(SubmitError::ShuttingDown));
}

#[tokio::test]
async fn a_stream_is_started_anew_or_stopped_by_its_id_and_what_it_last_wrote_can_be_seen() {
    let pool = pool(1);
    let (stream, frames) = stream(sh("echo up; echo how >&2; exec sleep 1000").id("s"), Framing::Lines);
    let nexts = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&nexts);
    let handle = pool.stream(stream.on_end(move |_, next| kept.lock().unwrap().push(next))).unwrap();
    let starts = || frames.lock().unwrap().len();
    let state = || pool.view().streams.first().map(|stream| stream.state.clone());
    until("it is up", || starts() == 1).await;
    until("it can be seen", || pool.said("s").is_some_and(|said| said.stderr == "how\n" && said.stdout == "up\n"))
        .await;
    assert!(pool.restart("s") && !pool.restart("t"));
    until("it is up anew", || starts() == 2).await;
    assert_eq!((pool.cancel_id("s"), pool.cancel_id("t")), (1, 0));
    until("it is stopped", || state().as_deref() == Some("stopped")).await;
    assert!(pool.said("s").is_none() && pool.latest("s").unwrap().outcome.stdout.text() == "up\n");
    assert_eq!(pool.cancel_id("s"), 0, "nothing of it runs");
    assert!(pool.restart("s"));
    until("it is up once more", || starts() == 3).await;
    assert_eq!(state().as_deref(), Some("runs"));
    handle.cancel();
    handle.wait().await;
    assert_eq!(*nexts.lock().unwrap(), [Next::Restart, Next::Stopped, Next::Nothing]);
    assert!(pool.latest("s").is_none() && !pool.restart("s"), "it is gone");
}

#[tokio::test]
async fn what_is_to_be_started_again_later_can_be_started_now_or_not_at_all() {
    let pool = pool(1);
    let (stream, frames) = stream(sh("echo up; exit 1").id("s"), Framing::Lines);
    let nexts = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&nexts);
    let stream = stream.pauses(Backoff::fixed(LONG)).on_end(move |_, next| kept.lock().unwrap().push(next));
    pool.stream(stream).unwrap();
    let state = || pool.view().streams.first().map(|stream| stream.state.clone());
    until("it pauses", || state().as_deref() == Some("pauses")).await;
    assert!(pool.view().streams.iter().all(|stream| stream.next.is_some() && stream.started.is_none()));
    assert!(pool.restart("s"));
    until("it was up twice", || frames.lock().unwrap().len() == 2).await;
    until("it pauses", || state().as_deref() == Some("pauses")).await;
    assert_eq!(pool.cancel_id("s"), 1);
    until("it is stopped", || state().as_deref() == Some("stopped")).await;
    assert_eq!(*nexts.lock().unwrap(), [Next::Start(LONG), Next::Start(LONG), Next::Stopped]);
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn a_stream_that_replaces_another_waits_for_its_end() {
    let pool = pool(1);
    let stubborn = sh("trap '' TERM; echo old; while :; do sleep 0.01; done").kill_grace(Duration::from_millis(300));
    let (old, frames) = stream(stubborn, Framing::Lines);
    let old = pool.stream(old).unwrap();
    until("the old is up", || frames.lock().unwrap().len() == 1).await;
    let (new, frames) = stream(sh("echo new; exec sleep 1000").after(&[&old]), Framing::Lines);
    old.cancel();
    pool.stream(new).unwrap();
    until("the new is up", || {
        let up = frames.lock().unwrap().len() == 1;
        assert!(!up || old.outcome().is_some());
        up
    })
    .await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[test]
fn streams_and_schedules_leave_nothing() {
    const NAME: &str = "streams_and_schedules_leave_nothing";
    super::leaks::alone(module_path!(), NAME, || {
        super::leaks::leaves_nothing(async |pool: Pool| {
            for script in ["while read line; do echo x; done", "trap '' TERM; sleep 1000 & echo x; wait", "exit 1"] {
                let (stream, _) = stream(sh(script).kill_grace(Duration::from_millis(100)), Framing::Lines);
                pool.stream(stream.tick(Tick::Newline(Duration::from_millis(10)))).unwrap();
            }
            let every = Schedule::Every { interval: Duration::from_millis(10), jitter: Duration::from_millis(5) };
            for number in 0..20 {
                pool.schedule(&format!("{number}"), every.clone(), || sh("sleep 0.02")).unwrap();
            }
            for _ in 0..20 {
                pool.submit(Task::call("x", |_| Ok(Vec::new()))).unwrap();
                pool.submit(sh("exit 1").retries(3, Backoff::fixed(LONG))).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        });
    });
}
