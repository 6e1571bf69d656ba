//! Rotation in all its kinds.

use super::*;

#[test]
fn a_file_that_is_moved_away_is_read_to_its_end_and_its_successor_from_its_beginning() {
    let mut world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    world.check.grace = Duration::from_secs(3600);
    world.append("a.log", "1\n");
    assert_eq!(world.lines(), 1);
    world.append("a.log", "2\n");
    world.rename("a.log", "a.log.1");
    assert_eq!(world.lines(), 2);
    assert_eq!(world.said().0, State::Ok, "its successor is about to come");
    // Who writes it has not noticed yet.
    world.append("a.log.1", "3\n");
    world.append("a.log", "4\n");
    assert_eq!(world.lines(), 4);
    world.append("a.log.1", "5\nlast");
    assert_eq!(world.lines(), 5);
    world.check.grace = Duration::ZERO;
    assert_eq!(world.lines(), 6, "nobody goes on with the last line");
    world.append("a.log.1", "too late\n");
    assert_eq!(world.lines(), 6);
    assert_eq!(world.value("rotations_total"), 1);
    assert_eq!(world.tree.open_files(), 1);
}

#[test]
fn a_file_that_is_moved_to_a_name_that_is_followed_goes_on_where_it_was() {
    let world = World::new(&[("a.log", "old\n")], &format!("path: '/a.log*', {ANY}"));
    world.append("a.log", "1\n");
    assert_eq!(world.lines(), 1);
    world.append("a.log", "2\n");
    world.rename("a.log", "a.log.1");
    world.append("a.log", "3\n");
    assert_eq!(world.lines(), 3);
    world.append("a.log.1", "4\n");
    assert_eq!(world.lines(), 4);
    world.rename("a.log.1", "a.log.2.gz");
    world.append("a.log.2.gz", "5\n");
    assert_eq!(world.lines(), 5, "compression writes another file; this one is as it was");
}

#[test]
fn a_file_that_is_deleted_is_read_to_its_end() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, missing: warning, {ANY}"));
    world.append("a.log", "1\n2\n");
    world.tree.remove("root/a.log");
    assert_eq!(world.lines(), 2);
    assert_eq!(world.said(), (State::Warning, "/a.log is missing".to_string()));
    assert_eq!(world.tree.open_files(), 0, "its space on the disk is free");
}

#[test]
fn a_file_that_is_emptied_is_read_from_its_beginning() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    world.append("a.log", "1\n2\n3\n");
    assert_eq!(world.lines(), 3);
    world.empty("a.log");
    assert_eq!(world.lines(), 3);
    world.append("a.log", "4\n");
    assert_eq!(world.lines(), 4);
    world.empty("a.log");
    world.append("a.log", "5\n6\n7\n");
    assert_eq!(world.lines(), 7, "as long as it was, or longer");
    assert_eq!(world.value("rotations_total"), 2);
}

#[test]
fn a_file_that_was_emptied_and_begins_as_before_is_told_by_what_stands_where_reading_was() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    let header = "# a header that each of them has\n".repeat(20);
    world.append("a.log", format!("{header}1\n2\n"));
    assert_eq!(world.lines(), 22);
    world.empty("a.log");
    world.append("a.log", format!("{header}3\n4\n5\n"));
    assert_eq!(world.lines(), 22 + 23);
}

#[test]
fn what_was_not_read_before_a_file_was_copied_and_emptied_is_read_from_the_copy() {
    for path in ["/a.log", "/a.log*"] {
        let world = World::new(&[("a.log", "")], &format!("path: '{path}', {ANY}"));
        world.append("a.log", "1\n2\n");
        assert_eq!(world.lines(), 2);
        world.append("a.log", "3\n");
        world.copy("a.log", "a.log-20260101");
        world.empty("a.log");
        world.append("a.log", "4\n");
        assert_eq!(world.lines(), 4, "{path}");
        assert_eq!(world.lines(), 4, "{path}");
    }
}

#[test]
fn a_copy_of_a_file_that_goes_on_is_not_read_again() {
    let world = World::new(&[("a.log", "")], &format!("path: '/a.log*', {ANY}"));
    world.append("a.log", "a line of some length\n".repeat(100));
    assert_eq!(world.lines(), 100);
    world.append("a.log", "one more\n");
    world.copy("a.log", "a.log.bak");
    assert_eq!(world.lines(), 101);
    world.append("a.log", "one more\n");
    assert_eq!(world.lines(), 102);
}

#[test]
fn a_file_that_is_written_anew_by_an_editor_goes_on_where_it_was() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    world.append("a.log", "a line of some length\n".repeat(100));
    assert_eq!(world.lines(), 100);
    world.copy("a.log", "a.log~");
    world.append("a.log~", "one more\n");
    world.rename("a.log~", "a.log");
    assert_eq!(world.lines(), 101);
}

#[test]
fn a_hole_before_what_is_written_on_is_passed_over() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    let mut writer = File::options().write(true).open(world.tree.path("root/a.log")).unwrap();
    let line = format!("{}\n", "x".repeat(999));
    for _ in 0..2000 {
        writer.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(world.lines(), 2000);
    // It goes on at its old place, two megabytes behind the new end.
    world.empty("a.log");
    writer.write_all(b"1\n2\n").unwrap();
    assert_eq!(world.lines(), 2002);
    assert!(world.value("bytes_total") < 2_000_000 + 10_000, "the hole was not read");
}

#[test]
fn of_too_many_files_those_that_were_written_last_are_followed_and_none_is_read_twice() {
    let world = World::new(&[], &format!("path: '/*.log', max_files: 3, missing: ok, {ANY}"));
    let lines_of = |i: u64| format!("{i}\n{}\n", "x".repeat(300));
    for i in 0..8 {
        world.append(&format!("{i}.log"), lines_of(i));
        // So that the times differ.
        let time = SystemTime::now() - Duration::from_secs(1000 - i);
        let path = world.tree.path(&format!("root/{i}.log"));
        File::open(path).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    }
    assert_eq!(world.lines(), 6);
    assert_eq!(world.tree.open_files(), 3);
    assert_eq!(world.value("files"), 3);
    // One that was left out is written: another is left out for it.
    world.append("0.log", "y\n");
    assert_eq!(world.lines(), 6 + 3);
    world.append("5.log", "z\n");
    assert_eq!(world.lines(), 10, "it goes on where it was");
    for i in 0..8 {
        world.tree.remove(&format!("root/{i}.log"));
    }
    world.said();
    world.said();
    assert_eq!(world.tree.open_files(), 0);
}

#[test]
fn a_file_that_cannot_be_read_at_first_is_begun_where_it_was() {
    let world = World::unseen(&[("d/a.log", "old\n")], &format!("path: /link/a.log, {ANY}"));
    std::os::unix::fs::symlink("link", world.tree.path("root/link")).unwrap();
    assert_eq!(world.said().0, State::Unknown);
    world.tree.remove("root/link");
    std::os::unix::fs::symlink("d", world.tree.path("root/link")).unwrap();
    world.append("d/a.log", "new\n");
    assert_eq!(world.lines(), 2, "it had not been seen, so it is new");
}
