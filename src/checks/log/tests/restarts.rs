//! Going on after a restart.

use super::*;

/// A place in memory, through the form in which it would be stored.
#[derive(Default)]
pub struct Memory {
    kept: Mutex<Option<String>>,
    saved: Mutex<u32>,
    /// Whether nothing can be read just now.
    is_away: Mutex<bool>,
}

impl Place for Memory {
    fn load(&self) -> Earlier {
        if *self.is_away.lock().unwrap() {
            return Earlier::Unknown;
        }
        let kept = self.kept.lock().unwrap();
        let read = kept.as_ref().and_then(|text| serde_json::from_str(text).ok());
        read.map_or(Earlier::Nothing, Earlier::At)
    }

    fn save(&self, positions: &Positions) {
        if *self.is_away.lock().unwrap() {
            return;
        }
        *self.kept.lock().unwrap() = Some(serde_json::to_string(positions).unwrap());
        *self.saved.lock().unwrap() += 1;
    }
}

/// A world whose check has just been stopped, and the place that knows how far it had read: two lines.
fn stopped(keys: &str) -> (World, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let world = World::unseen(&[("a.log", "old\n")], keys).restarted(keys, &memory);
    world.said();
    world.append("a.log", "1\n2\n");
    assert_eq!(world.lines(), 2);
    (world, memory)
}

impl World {
    /// With a new check, that goes on from what is kept.
    pub fn restarted(self, keys: &str, memory: &Arc<Memory>) -> World {
        let place: Arc<dyn Place> = memory.clone();
        let mut check = LogCheck::new(&config(&format!("{{{keys}}}")), &self.tree.roots(), Some(place));
        check.grace = Duration::ZERO;
        World { tree: self.tree, check }
    }
}

fn keys() -> String {
    format!("path: /a.log, {ANY}")
}

#[test]
fn reading_goes_on_where_it_was() {
    let (world, memory) = stopped(&keys());
    world.append("a.log", "3\n4\n");
    let world = world.restarted(&keys(), &memory);
    assert_eq!(world.lines(), 2);
    let saved = *memory.saved.lock().unwrap();
    world.said();
    assert_eq!(*memory.saved.lock().unwrap(), saved, "nothing has moved");
}

#[test]
fn a_file_that_was_moved_away_meanwhile_is_found_beside_its_old_name() {
    for new in ["a.log.1", "old-a.log"] {
        let (world, memory) = stopped(&keys());
        world.append("a.log", "3\n");
        world.rename("a.log", new);
        world.append("a.log", "4\n5\n");
        assert_eq!(world.restarted(&keys(), &memory).lines(), 3, "{new}");
    }
}

#[test]
fn a_file_that_was_copied_and_emptied_meanwhile_is_found_too() {
    let (world, memory) = stopped(&keys());
    world.append("a.log", "3\n");
    world.copy("a.log", "a.log.1");
    world.empty("a.log");
    world.append("a.log", "4\n5\n");
    assert_eq!(world.restarted(&keys(), &memory).lines(), 3);
}

#[test]
fn a_file_that_has_gone_for_good_is_not_missed() {
    let (world, memory) = stopped(&keys());
    world.tree.remove("root/a.log");
    world.append("a.log", "another\n");
    let world = world.restarted(&keys(), &memory);
    let lines = world.lines();
    assert!(lines <= 1, "{lines}: by its time of birth, where that is told in good enough time");
    world.append("a.log", "x\n");
    assert_eq!(world.lines(), lines + 1);
}

#[test]
fn a_file_that_the_check_was_not_about_before_is_begun_at_its_end() {
    let (world, memory) = stopped(&keys());
    // A day ago by what is kept, tomorrow by the file system: as a file that has been there for long.
    let kept = memory.kept.lock().unwrap().clone().unwrap();
    let mut positions: Positions = serde_json::from_str(&kept).unwrap();
    positions.saved_at += 86_400;
    memory.save(&positions);
    world.append("b.log", "1\n2\n3\n");
    let keys = format!("path: [/a.log, /b.log], {ANY}");
    let world = world.restarted(&keys, &memory);
    assert_eq!(world.lines(), 0);
    world.append("b.log", "4\n");
    assert_eq!(world.lines(), 1);
}

#[test]
fn a_check_that_was_changed_goes_on_in_the_files_that_it_is_still_about() {
    let memory = Arc::new(Memory::default());
    let both = format!("path: [/a.log, /b.log], {ANY}");
    let world = World::unseen(&[("a.log", "old\n"), ("b.log", "old\n")], &both).restarted(&both, &memory);
    world.said();
    world.append("a.log", "1\n");
    world.append("b.log", "1\n2\n");
    let world = world.restarted("path: '/a*.log', patterns: [{name: other, match: x}]", &memory);
    assert_eq!(world.lines(), 1, "those of the other are none of its business");
    world.append("b.log", "3\n");
    assert_eq!(world.lines(), 1);
}

#[test]
fn what_can_be_told_late_is_gone_on_from_then() {
    let (world, memory) = stopped(&keys());
    world.append("a.log", "while nobody looked\n");
    *memory.is_away.lock().unwrap() = true;
    let world = world.restarted(&keys(), &memory);
    assert_eq!(world.lines(), 0);
    world.append("a.log", "meanwhile\n");
    assert_eq!(world.lines(), 1);
    *memory.is_away.lock().unwrap() = false;
    assert_eq!(world.lines(), 1 + 2, "one again, and the one that was missed");
    world.append("a.log", "x\n");
    assert_eq!(world.lines(), 4);
    assert_eq!(world.restarted(&keys(), &memory).lines(), 0);
}

#[test]
fn an_empty_log_is_known_again_on_a_device_of_another_number() {
    let memory = Arc::new(Memory::default());
    let world = World::unseen(&[("a.log", "")], &keys()).restarted(&keys(), &memory);
    world.said();
    let kept = memory.kept.lock().unwrap().clone().unwrap();
    let mut positions: Positions = serde_json::from_str(&kept).unwrap();
    // As of a file that has been there for long.
    positions.saved_at += 86_400;
    positions.files[0].device += 1;
    memory.save(&positions);
    world.append("a.log", "1\n");
    assert_eq!(world.restarted(&keys(), &memory).lines(), 1);
}

#[test]
fn what_is_kept_within_a_line_is_gone_on_with() {
    let keys = format!("path: /a.log, max_line: 64, {ANY}");
    let (world, memory) = stopped(&keys);
    world.append("a.log", "x".repeat(200));
    assert_eq!(world.lines(), 3);
    let world = world.restarted(&keys, &memory);
    world.append("a.log", format!("{}\n3\n", "x".repeat(200)));
    assert_eq!(world.lines(), 1);
}

#[test]
fn damaged_positions_are_of_no_harm() {
    let (mut world, memory) = stopped(&keys());
    let good = memory.kept.lock().unwrap().clone().unwrap();
    let mut cases: Vec<String> = ["", "{}", "[]", "null"].map(String::from).to_vec();
    for digit in ["0", "9", "18446744073709551615"] {
        cases.extend(
            good.match_indices(char::is_numeric).map(|(at, _)| format!("{}{digit}{}", &good[..at], &good[at + 1..])),
        );
    }
    for case in cases {
        *memory.kept.lock().unwrap() = Some(case);
        world = world.restarted(&keys(), &memory);
        assert_eq!(world.said().0, State::Ok);
    }
}
