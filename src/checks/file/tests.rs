use std::fs::{File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::checks::local::testing::{as_nobody, config, read, run, said};
use crate::collect::testing::{Tree, starting};

fn check(tree: &Tree, text: &str) -> Arc<dyn Look> {
    config::<FileConfig>(text).build(&tree.roots())
}

fn set_age(tree: &Tree, path: &str, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::open(tree.path(path)).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
}

const HOUR: u64 = 3600;

#[test]
fn a_backup_that_is_too_old_is_told_with_its_age_and_limit() {
    let tree = Tree::new(&[("root/b/db.dump", "x".repeat(2048))]);
    let check = check(&tree, "{path: /b/db.dump, age: {older_than: 26h}, size: {min: 1KiB}}");
    set_age(&tree, "root/b/db.dump", 3 * HOUR + 240);
    let (verdict, lines) = run(&*check);
    assert_eq!(verdict, Verdict::ok("/b/db.dump: 3 h 4 min old, 2 KiB"));
    assert!(lines.contains(&"watchfire_check_file_size_bytes{path=\"/b/db.dump\"} 2048".to_string()), "{lines:?}");
    assert!(lines.contains(&"watchfire_check_files 1".to_string()), "{lines:?}");
    let changed = fs::metadata(tree.path("root/b/db.dump")).unwrap().modified().unwrap();
    let changed = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let line = format!("watchfire_check_file_mtime_seconds{{path=\"/b/db.dump\"}} {changed}");
    assert!(lines.contains(&line), "{lines:?}");
    set_age(&tree, "root/b/db.dump", 27 * HOUR);
    assert_eq!(said(&*check), (State::Critical, "/b/db.dump is 27 h old (limit 26 h)".to_string()));
    set_age(&tree, "root/b/db.dump", 26 * HOUR + 5);
    assert_eq!(said(&*check).1, "/b/db.dump is a little over 26 h old (limit 26 h)");
    tree.write("root/b/db.dump", "x");
    assert_eq!(said(&*check).1, "/b/db.dump has 1 byte (at least 1 KiB wanted)");
    tree.remove("root/b/db.dump");
    let (verdict, lines) = run(&*check);
    assert_eq!(verdict, Verdict::critical("/b/db.dump is missing"));
    assert_eq!(lines, ["watchfire_check_files 0", "watchfire_check_file_sum_bytes 0"]);
}

#[test]
fn what_a_fault_means_is_configured() {
    let tree = Tree::new(&[("root/f", "")]);
    let text = "{path: /f, size: {min: 1}, severity: warning, missing: ok}";
    assert_eq!(said(&*check(&tree, text)), (State::Warning, "/f has 0 bytes (at least 1 byte wanted)".to_string()));
    tree.remove("root/f");
    assert_eq!(said(&*check(&tree, text)), (State::Ok, "nothing is at /f".to_string()));
}

#[test]
fn a_file_that_was_touched_lately_or_lies_in_the_future_is_told() {
    let tree = Tree::new(&[("root/f", "")]);
    set_age(&tree, "root/f", 600);
    let check = check(&tree, "{path: /f, age: {newer_than: 1h}}");
    assert_eq!(said(&*check).1, "/f was changed 10 min ago (limit 1 h)");
    let then = SystemTime::now() + Duration::from_secs(7200 + 5);
    File::open(tree.path("root/f")).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
    let (verdict, lines) = run(&*config::<FileConfig>("path: /f").build(&tree.roots()));
    assert_eq!(verdict, Verdict::ok("/f: changed 2 h in the future, 0 bytes"));
    assert_eq!(starting(&lines, "watchfire_check_file_newest_mtime_seconds ").len(), 1, "{lines:?}");
}

#[test]
fn of_many_backups_the_newest_counts() {
    let tree = Tree::new(&[("root/b/1.dump", "12345"), ("root/b/2.dump", ""), ("root/b/note", "x")]);
    set_age(&tree, "root/b/1.dump", 50 * HOUR);
    set_age(&tree, "root/b/2.dump", HOUR);
    let all = check(&tree, "{path: '/b/*.dump', age: {older_than: 26h}}");
    assert_eq!(said(&*all), (State::Critical, "/b/1.dump is 50 h old (limit 26 h)".to_string()));
    let newest = check(&tree, "{path: '/b/*.dump', of: newest, age: {older_than: 26h}}");
    assert_eq!(said(&*newest), (State::Ok, "2 files at /b/*.dump: the newest 1 h old, 5 bytes together".to_string()));
    let newest = check(&tree, "{path: '/b/*.dump', of: newest, size: {min: 1}}");
    assert_eq!(said(&*newest).1, "/b/2.dump has 0 bytes (at least 1 byte wanted)");
}

#[test]
fn files_are_counted_and_none_is_a_number_too() {
    let tree = Tree::new(&[("root/spool/a", "1"), ("root/spool/b", "22"), ("root/spool/c", "333")]);
    let check = |keys: &str| said(&*check(&tree, &format!("{{path: '/spool/*', {keys}}}")));
    assert_eq!(check("count: {max: 2}").1, "3 files at /spool/* (at most 2 wanted)");
    assert_eq!(check("count: {min: 4}").1, "3 files at /spool/* (at least 4 wanted)");
    assert_eq!(check("total_size: {max: 5}").1, "all at /spool/* together has 6 bytes (at most 5 bytes wanted)");
    for name in ["a", "b", "c"] {
        tree.remove(&format!("root/spool/{name}"));
    }
    assert_eq!(check("count: {max: 2}"), (State::Ok, "nothing is at /spool/*".to_string()));
    assert_eq!(check("of: newest"), (State::Critical, "no file matches /spool/*".to_string()));
    fs::remove_dir(tree.path("root/spool")).unwrap();
    assert_eq!(check("count: {max: 2}").0, State::Ok, "the directory has vanished");
}

#[test]
fn below_a_directory_regular_files_count_and_circles_end() {
    let tree = Tree::new(&[("root/d/a", "1"), ("root/d/e/f/b", "22"), ("root/other", &"x".repeat(100))]);
    symlink("..", tree.path("root/d/e/up")).unwrap();
    symlink("../other", tree.path("root/d/link")).unwrap();
    let (verdict, lines) = run(&*check(&tree, "{path: /d, recursive: true, total_size: {max: 10}}"));
    assert_eq!(verdict.state, State::Ok, "{verdict:?}");
    assert!(lines.contains(&"watchfire_check_files 2".to_string()), "{lines:?}");
    assert!(lines.contains(&"watchfire_check_file_sum_bytes 3".to_string()), "{lines:?}");
    symlink("self", tree.path("root/self")).unwrap();
    let (state, summary) = said(&*check(&tree, "{path: /self, recursive: true}"));
    assert!(state == State::Unknown && summary.starts_with("cannot look at /self: "), "{summary}");
}

#[test]
fn permissions_and_owners_are_held_to() {
    let tree = Tree::new(&[("root/key", "secret"), ("root/etc/passwd", "app:x:4711:1::/:/x\n")]);
    fs::set_permissions(tree.path("root/key"), fs::Permissions::from_mode(0o644)).unwrap();
    let check = |keys: &str| said(&*check(&tree, &format!("{{path: /key, {keys}}}")));
    assert_eq!(check("permissions: 0640").1, "/key has permissions 0644 (at most 0640 wanted)");
    assert_eq!(check("permissions: 0644").0, State::Ok);
    let uid = fs::metadata(tree.path("root/key")).unwrap().uid();
    assert_eq!(check(&format!("owner: {uid}")).0, State::Ok);
    assert_eq!(check("owner: app").1, format!("/key belongs to {uid}, not app"));
    assert_eq!(check("owner: nobody"), (State::Unknown, "/etc/passwd knows no user \"nobody\"".to_string()));
    assert_eq!(check("group: 4712").0, State::Critical);
}

const SUM_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_changed_content_is_told_once_and_counted() {
    let tree = Tree::new(&[("root/f", "abc")]);
    set_age(&tree, "root/f", 100);
    let check = check(&tree, "{path: /f, checksum: {}}");
    let (verdict, lines) = run(&*check);
    assert_eq!(verdict.state, State::Ok);
    let info = format!("watchfire_check_file_checksum_info{{path=\"/f\",sha256=\"{SUM_OF_ABC}\"}} 1");
    assert!(lines.contains(&info), "{lines:?}");
    assert_eq!(said(&*check).0, State::Ok);
    // The same length at the same time of change, as whoever wants to hide it would do it.
    tree.write("root/f", "abd");
    set_age(&tree, "root/f", 100);
    let (verdict, lines) = run(&*check);
    assert_eq!(verdict, Verdict::critical("/f has changed: SHA-256 is now a52d159f262b..."));
    assert!(lines.contains(&"watchfire_check_file_changes_total{path=\"/f\"} 1".to_string()), "{lines:?}");
    assert_eq!(said(&*check).0, State::Ok, "it is that of the last run now");
}

#[test]
fn a_content_that_is_known_is_held_to() {
    let tree = Tree::new(&[("root/f", "abc")]);
    let check = check(&tree, &format!("{{path: /f, checksum: {{sha256: {}}}}}", SUM_OF_ABC.to_uppercase()));
    assert_eq!(said(&*check).0, State::Ok);
    tree.write("root/f", "abd");
    for _ in 0..2 {
        assert_eq!(said(&*check).1, "/f has SHA-256 a52d159f262b..., not ba7816bf8f01...");
    }
}

#[test]
fn what_cannot_be_hashed_is_told_and_nothing_hangs() {
    let tree = Tree::new(&[("root/large", &*"x".repeat(5000)), ("root/d/f", "")]);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("root/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    symlink("/dev/zero", tree.path("root/zero")).unwrap();
    for (path, why) in [
        ("/fifo", "/fifo: is not a regular file, and not hashed"),
        ("/zero", "/zero: is not a regular file, and not hashed"),
        ("/d", "/d: is not a regular file, and not hashed"),
        ("/large", "/large: is larger than 4 KiB, and not hashed"),
    ] {
        let check = check(&tree, &format!("{{path: {path}, checksum: {{limit: 4KiB}}}}"));
        assert_eq!(said(&*check), (State::Unknown, why.to_string()));
    }
    assert_eq!(tree.open_files(), 0);
}

#[test]
fn what_is_not_for_us_is_told() {
    let tree = Tree::new(&[("root/f", "secret"), ("root/d/f", "")]);
    for path in ["root/f", "root/d"] {
        fs::set_permissions(tree.path(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    as_nobody(&tree, || {
        for (keys, why) in [
            ("path: /f, checksum: {}", "/f: cannot be read: Permission denied (os error 13)"),
            ("path: /d/f", "cannot look at /d/f: Permission denied (os error 13)"),
            ("path: '/d/*'", "cannot look at /d: Permission denied (os error 13)"),
            ("path: /d, recursive: true", "cannot look at /d: Permission denied (os error 13)"),
        ] {
            assert_eq!(said(&*check(&tree, &format!("{{{keys}}}"))), (State::Unknown, why.to_string()));
        }
        assert_eq!(said(&*check(&tree, "path: /f")).0, State::Ok, "its state may be known");
    });
}

#[test]
fn a_million_names_would_be_counted_in_little_memory() {
    let tree = Tree::new(&[("root/spool/name-00000", "")]);
    for i in 1..3000 {
        File::create(tree.path(&format!("root/spool/name-{i:05}"))).unwrap();
    }
    let check = check(&tree, "{path: '/spool/*', size: {min: 1}}");
    let ((verdict, lines), peak) = crate::fuzz::peak_of(|| run(&*check));
    assert!(verdict.summary.ends_with("; and 2997 more"), "{verdict:?}");
    assert_eq!(starting(&lines, "watchfire_check_file_size_bytes").len(), 100);
    assert!(lines.contains(&"watchfire_check_file_size_bytes{path=\"/spool/name-00099\"} 0".to_string()));
    assert!(peak < 512 << 10, "{peak}");
}

#[test]
fn a_run_that_hangs_does_not_hold_up_the_next() {
    let tree = Tree::new(&[("root/f", "")]);
    let config: FileConfig = config("path: /f");
    let roots = tree.roots();
    let pattern = HostPattern::new("/f", &roots);
    let check = FileCheck { config, pattern, roots, sums: Mutex::default() };
    let hanging = check.sums.lock().unwrap();
    assert_eq!(said(&check), (State::Unknown, "the run before this one still reads".to_string()));
    drop(hanging);
    assert_eq!(said(&check).0, State::Ok);
}

#[test]
fn wrong_keys_are_told() {
    for (text, fault) in [
        ("{}", "a file check needs a path, from / on"),
        ("path: b", "a file check needs a path, from / on"),
        ("{path: /f, of: oldest}", "expected all or newest, found oldest"),
        ("{path: /f, permissions: 0980}", "expected permissions in octal, such as 0640, found 0980"),
        ("{path: /f, age: {older_than: 1h, newer_than: 1h}}", "nothing is right"),
        ("{path: /f, checksum: {sha256: abc}}", "64 hexadecimal digits"),
        ("{path: /f, missing: bad}", "expected ok, warning, critical or unknown, found bad"),
        ("{path: /f, size: {min: small}}", "expected a number of bytes, such as 4096, 16MiB or 1.5GiB, found small"),
    ] {
        let (_, faults) = read::<FileConfig>(text);
        assert!(faults.contains(fault), "{text}: {faults}");
    }
}
