use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

fn open(dir: &Path) -> Store {
    Store::open(dir, &Registry::new()).unwrap()
}

fn batch(rows: &[(&str, Option<u64>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, row) in rows {
        match row {
            Some(n) => batch.put(Table::Queue, *key, n),
            None => batch.remove(Table::Queue, *key),
        }
    }
    batch
}

fn rows(store: &Store) -> Vec<(String, u64)> {
    store.load(Table::Queue)
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let family = registry.gather().into_iter().find(|f| f.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    metric.get_counter().value() + metric.get_gauge().value()
}

fn wait(store: &Store) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.settled());
}

#[test]
fn rows_are_there_after_a_restart_in_order_of_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(batch(&[("b", Some(2)), ("a", Some(1)), ("c", Some(3))]));
    store.write(batch(&[("c", None), ("b", Some(4))]));
    assert_eq!(rows(&store), [("a".to_string(), 1), ("b".to_string(), 4)]);
    drop(store);
    assert_eq!(rows(&open(dir.path())), [("a".to_string(), 1), ("b".to_string(), 4)]);
}

#[test]
fn batches_that_are_made_later_are_written_in_the_order_in_which_they_were_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..50 {
        store.write(batch(&[("a", Some(n)), ("b", Some(n))]));
        store.write_later(move || batch(&[("a", Some(n + 1000)), ("b", None)]));
        store.write(batch(&[("c", Some(n))]));
    }
    let expected = [("a".to_string(), 1049), ("c".to_string(), 49)];
    assert_eq!(rows(&store), expected);
    store.write_later(|| batch(&[("c", None)]));
    wait(&store);
    store.write_later(|| batch(&[("c", Some(49))]));
    drop(store);
    assert_eq!(rows(&open(dir.path())), expected);
}

#[test]
fn the_directory_and_the_file_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a/b");
    let _store = open(&below);
    assert_eq!(fs::metadata(&below).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(below.join("watchfire.redb")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_second_agent_is_told_that_the_store_is_in_use_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = Store::open(dir.path(), &Registry::new()).err().unwrap().to_string();
    assert!(error.contains("watchfire.redb is in use by another agent; stop that one"), "{error}");
    assert!(error.contains("--storage.path"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/below"), &Registry::new()).err().unwrap().to_string();
    assert!(error.contains("file/below cannot be the storage directory") && error.contains("is a file"), "{error}");
    assert!(error.contains("--storage.path"), "{error}");
}

#[test]
fn a_damaged_file_is_set_aside_counted_and_a_fresh_one_begun() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        fs::write(dir.path().join("watchfire.redb"), "not a database").unwrap();
        let registry = Registry::new();
        let store = Store::open(dir.path(), &registry).unwrap();
        assert_eq!(metric(&registry, "watchfire_storage_damaged_total"), 1.0);
        assert_eq!(metric(&registry, "watchfire_storage_up"), 1.0);
        store.write(batch(&[("a", Some(1))]));
        assert_eq!(rows(&store).len(), 1);
        drop(store);
        let names = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let aside = names.filter(|n| n.starts_with("watchfire.redb.damaged-")).count();
        assert_eq!(aside, round.min(3), "only the last few are kept");
    }
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut later = Batch::default();
    later.put(Table::Meta, "format", &2);
    store.write(later);
    drop(store);
    let error = Store::open(dir.path(), &Registry::new()).err().unwrap().to_string();
    assert!(error.contains("has the format \"2\""), "{error}");
    assert!(dir.path().join("watchfire.redb").exists());
}

#[test]
fn a_store_that_cannot_be_written_keeps_rows_in_memory_says_so_and_writes_them_later() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let store = Store::open(dir.path(), &registry).unwrap();
    store.write(batch(&[("a", Some(1))]));
    wait(&store);
    // As after an I/O error: the file is closed, and cannot be opened again because its place is taken.
    *lock(&store.owner.shared.file) = None;
    let kept = dir.path().join("kept");
    fs::rename(dir.path().join("watchfire.redb"), &kept).unwrap();
    fs::create_dir(dir.path().join("watchfire.redb")).unwrap();

    store.write(batch(&[("b", Some(2)), ("a", None)]));
    wait(&store);
    assert_eq!(rows(&store), [("b".to_string(), 2)]);
    assert_eq!(metric(&registry, "watchfire_storage_up"), 0.0);
    assert_eq!(metric(&registry, "watchfire_storage_errors_total"), 1.0);
    assert_eq!(metric(&registry, "watchfire_storage_unwritten_rows"), 2.0);
    // While the disk rests, nobody waits for it.
    store.write(batch(&[("c", Some(3))]));
    wait(&store);
    assert_eq!(metric(&registry, "watchfire_storage_errors_total"), 1.0);

    fs::remove_dir(dir.path().join("watchfire.redb")).unwrap();
    fs::rename(&kept, dir.path().join("watchfire.redb")).unwrap();
    drop(store);
    assert_eq!(metric(&registry, "watchfire_storage_up"), 1.0);
    assert_eq!(rows(&open(dir.path())), [("b".to_string(), 2), ("c".to_string(), 3)]);
}

/// A directory in which no file can be opened, until `usable`.
fn blocked(dir: &Path) {
    let (file, kept) = (dir.join("watchfire.redb"), dir.join("kept"));
    if file.exists() {
        fs::rename(&file, kept).unwrap();
    }
    fs::create_dir(file).unwrap();
}

fn usable(dir: &Path) {
    let (file, kept) = (dir.join("watchfire.redb"), dir.join("kept"));
    match kept.exists() {
        // In one step: between two the store could begin a fresh file.
        true => renameat_with(CWD, kept, CWD, file, RenameFlags::EXCHANGE).unwrap(),
        false => fs::remove_dir(file).unwrap(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// So long does nothing happen that should not.
const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn what_lies_in_a_file_that_opens_late_is_seen_before_it_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(batch(&[("a", Some(1)), ("b", Some(2)), ("c", Some(3))]));
    drop(store);
    blocked(dir.path());
    let registry = Registry::new();
    let store = Store::unavailable(dir.path(), &registry, Duration::from_millis(20)).unwrap();
    let mut unseen = store.unseen(&[Table::Queue]).unwrap();
    let mut of_others = store.unseen(&[Table::Alerts, Table::Silences]).unwrap();
    assert!(rows(&store).is_empty());
    store.write(batch(&[("b", Some(20)), ("c", None), ("d", Some(40))]));
    wait(&store);
    thread::sleep(MOMENT);
    assert!(unseen.rows_now().is_none());
    assert_eq!(metric(&registry, "watchfire_storage_up"), 0.0);

    usable(dir.path());
    let found = block_on(unseen.rows()).unwrap();
    let row = |key: &str, row: &str, overtaken| StoredRow { key: key.to_string(), row: row.into(), overtaken };
    let expected = vec![row("a", "1", false), row("b", "2", true), row("c", "3", true)];
    assert_eq!(found, StoredRows::from([(Table::Queue, expected)]));
    let nothing = StoredRows::from([(Table::Alerts, Vec::new()), (Table::Silences, Vec::new())]);
    assert_eq!(block_on(of_others.rows()).unwrap(), nothing);
    // Another's tables are written meanwhile, and nobody waits for what is held back.
    let mut others = Batch::default();
    others.put(Table::Flapping, "f", &1);
    store.write(others);
    wait(&store);
    thread::sleep(MOMENT);
    assert_eq!(metric(&registry, "watchfire_storage_up"), 1.0);
    assert_eq!(metric(&registry, "watchfire_storage_unwritten_rows"), 3.0);
    let in_file = |table: Table| lock(&store.owner.shared.file).as_ref().unwrap().load(table).unwrap();
    assert_eq!((in_file(Table::Queue).len(), in_file(Table::Flapping).len()), (3, 1));
    assert_eq!(rows(&store).len(), 3, "both together");
    assert!(store.unseen(&[Table::DeadLetters]).is_none(), "who comes later reads it as ever");

    store.write(batch(&[("a", None), ("0", Some(1))]));
    unseen.taken_over();
    store.write(batch(&[("e", Some(50))]));
    wait(&store);
    drop(store);
    let expected = [("0", 1), ("b", 20), ("d", 40), ("e", 50)].map(|(key, row)| (key.to_string(), row));
    assert_eq!(rows(&open(dir.path())), expected);
}

#[test]
fn an_agent_that_ends_before_it_has_seen_what_lies_there_adds_to_it_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(batch(&[("a", Some(1)), ("b", Some(2))]));
    drop(store);
    blocked(dir.path());
    let store = Store::unavailable(dir.path(), &Registry::new(), Duration::from_secs(60)).unwrap();
    let unseen = store.unseen(&[Table::Queue]).unwrap();
    store.write(batch(&[("a", None), ("b", Some(20)), ("c", Some(30)), ("d", None)]));
    wait(&store);
    usable(dir.path());
    drop(unseen);
    drop(store);
    let expected = [("a", 1), ("b", 2), ("c", 30)].map(|(key, row)| (key.to_string(), row));
    assert_eq!(rows(&open(dir.path())), expected);
}

#[test]
fn a_late_file_is_looked_for_though_nothing_is_written_and_there_may_be_none() {
    let dir = tempfile::tempdir().unwrap();
    blocked(dir.path());
    let registry = Registry::new();
    let store = Store::unavailable(dir.path(), &registry, Duration::from_millis(20)).unwrap();
    let mut unseen = store.unseen(&[Table::Queue]).unwrap();
    thread::sleep(MOMENT);
    usable(dir.path());
    assert_eq!(block_on(unseen.rows()).unwrap(), StoredRows::from([(Table::Queue, Vec::new())]));
    unseen.taken_over();
    store.write(batch(&[("a", Some(1))]));
    wait(&store);
    assert_eq!(metric(&registry, "watchfire_storage_up"), 1.0);
    assert!(open(&dir.path().join("other")).unseen(&[Table::Queue]).is_none());
    drop(store);
    assert_eq!(rows(&open(dir.path())).len(), 1);
}

#[test]
fn an_idle_store_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let store = Store::open(dir.path(), &registry).unwrap();
    store.write(batch(&[("a", Some(1))]));
    wait(&store);
    let before = fs::metadata(dir.path().join("watchfire.redb")).unwrap();
    assert_eq!(metric(&registry, "watchfire_storage_transactions_total"), 1.0);
    store.write(Batch::default());
    rows(&store);
    thread::sleep(Duration::from_millis(30));
    let after = fs::metadata(dir.path().join("watchfire.redb")).unwrap();
    assert_eq!((before.mtime_nsec(), before.len()), (after.mtime_nsec(), after.len()));
    assert_eq!(metric(&registry, "watchfire_storage_transactions_total"), 1.0);
}

#[test]
fn a_row_without_a_json_form_is_counted_and_the_others_are_kept() {
    let registry = Registry::new();
    let store = Store::in_memory(&registry).unwrap();
    let mut batch = batch(&[("a", Some(1))]);
    batch.put(Table::Queue, "bad", &BTreeMap::from([((1, 2), 3)]));
    store.write(batch);
    assert_eq!(rows(&store).len(), 1);
    assert_eq!(metric(&registry, "watchfire_storage_errors_total"), 1.0);
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(dir))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut filler = fs::File::create(&path).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_the_agent_goes_on_from_memory_and_writes_when_there_is_room() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let long = "x".repeat(100_000);
    let texts = |store: &Store| store.load::<String>(Table::Alerts).len();
    let put = |store: &Store, key: &str| {
        let mut batch = Batch::default();
        batch.put(Table::Alerts, key, &long);
        store.write(batch);
        wait(store);
    };
    let registry = Registry::new();
    let store = Store::open(disk.0.path(), &registry).unwrap();
    put(&store, "before");
    let filler = disk.fill();
    put(&store, "full");
    assert_eq!(metric(&registry, "watchfire_storage_up"), 0.0);
    assert_eq!(texts(&store), 1, "what is in memory");
    fs::remove_file(&filler).unwrap();
    drop(store);
    assert_eq!(metric(&registry, "watchfire_storage_up"), 1.0);
    assert_eq!(metric(&registry, "watchfire_storage_damaged_total"), 0.0);
    assert_eq!(texts(&open(disk.0.path())), 2);

    // From the start.
    fs::remove_file(disk.0.path().join("watchfire.redb")).unwrap();
    disk.fill();
    let registry = Registry::new();
    let store = Store::open(disk.0.path(), &registry).unwrap();
    put(&store, "full");
    assert_eq!(metric(&registry, "watchfire_storage_up"), 0.0);
    assert_eq!(texts(&store), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn whatever_happened_to_the_file_the_agent_gets_a_store_it_can_use(
        spots in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let many: Vec<(String, u64)> = (0..200).map(|i| (format!("{i:03}"), i)).collect();
        store.write(batch(&many.iter().map(|(k, v)| (k.as_str(), Some(*v))).collect::<Vec<_>>()));
        drop(store);
        let path = dir.path().join("watchfire.redb");
        let mut bytes = fs::read(&path).unwrap();
        for (spot, byte) in &spots {
            let spot = spot.index(bytes.len());
            bytes[spot] = *byte;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();

        match Store::open(dir.path(), &Registry::new()) {
            Err(OpenError::Format { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(store) => {
                rows(&store);
                store.write(batch(&[("new", Some(1))]));
                prop_assert!(rows(&store).contains(&("new".to_string(), 1)));
                drop(store);
                prop_assert!(rows(&open(dir.path())).contains(&("new".to_string(), 1)));
            }
        }
    }
}
