//! Random worlds: whatever is written, however it is rotated, and whenever the agent is restarted, each line counts once.

use super::restarts::Memory;
use super::*;
use crate::fuzz::{self, Random};

/// How a log is rotated.
#[derive(Clone, Copy, Debug)]
enum Rotation {
    Rename,
    CopyTruncate,
    Either,
}

struct Life {
    world: World,
    keys: String,
    memory: Arc<Memory>,
    /// Lines that have their end.
    written: u64,
    /// Whether the last line has none yet.
    is_open: bool,
    /// Counted before the last restart.
    counted: u64,
}

impl Life {
    fn new() -> Life {
        let keys = format!("path: '/a.log*', max_per_run: 64KiB, {ANY}");
        let memory = Arc::new(Memory::default());
        let world = World::unseen(&[("a.log", "")], &keys).restarted(&keys, &memory);
        said(&world.check);
        Life { world, keys, memory, written: 0, is_open: false, counted: 0 }
    }

    fn write(&mut self, random: &mut Random) {
        for _ in 0..random.below(30) {
            self.world.append("a.log", format!("{} {}\n", self.written, "x".repeat(random.below(100))));
            self.written += 1;
            self.is_open = false;
        }
        if random.once_in(3) {
            self.world.append("a.log", "a part");
            self.is_open = true;
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.world.append("a.log", "\n");
            self.written += 1;
        }
    }

    /// As logrotate does: the older ones are moved on before.
    fn rotate(&mut self, rotation: Rotation, random: &mut Random) {
        self.end_line();
        for i in (1..40).rev().filter(|i| self.world.tree.path(&format!("root/a.log.{i}")).exists()) {
            self.world.rename(&format!("a.log.{i}"), &format!("a.log.{}", i + 1));
        }
        let renames = match rotation {
            Rotation::Rename => true,
            Rotation::CopyTruncate => false,
            Rotation::Either => random.once_in(2),
        };
        if renames {
            self.world.rename("a.log", "a.log.1");
            self.world.append("a.log", "");
        } else {
            self.world.copy("a.log", "a.log.1");
            self.world.empty("a.log");
        }
    }

    fn restart(mut self) -> Life {
        self.counted += self.world.lines();
        self.world = self.world.restarted(&self.keys, &self.memory);
        self
    }

    /// Until there is nothing more to read.
    fn count(&mut self) -> u64 {
        self.end_line();
        while self.world.value("lag_bytes") > 0 {}
        self.counted + self.world.lines()
    }
}

fn live(random: &mut Random, rotation: Rotation, restarts: bool) {
    let mut life = Life::new();
    for _ in 0..30 {
        match random.below(6) {
            0..=2 => life.write(random),
            3 => drop(life.world.said()),
            4 => life.rotate(rotation, random),
            _ if restarts => life = life.restart(),
            _ => {}
        }
    }
    let written = life.written + u64::from(life.is_open);
    assert_eq!(life.count(), written, "{rotation:?}, restarts: {restarts}");
}

#[test]
fn each_line_counts_once_when_logs_are_renamed() {
    fuzz::run(20, |random| live(random, Rotation::Rename, false));
}

#[test]
fn each_line_counts_once_when_logs_are_copied_and_emptied() {
    fuzz::run(20, |random| live(random, Rotation::CopyTruncate, false));
}

#[test]
fn each_line_counts_once_whatever_happens_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    if fs::metadata(dir.path()).unwrap().created().is_err() {
        eprintln!("skipped: the file system does not tell when files were made");
        return;
    }
    fuzz::run(20, |random| live(random, Rotation::Either, true));
}
