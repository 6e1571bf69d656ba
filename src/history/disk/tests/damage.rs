//! What damaged files cost, and that none makes a reader panic.

use super::*;

/// A small store that has all there is: chunks, heads, ticks, two epochs.
fn small(dir: &Path) {
    let mut run = Run::start(dir, 0);
    run.clock += Duration::from_secs(285);
    (1..=12).for_each(|t| run.tick(t, &[("a", t as f64 / 3.0), ("b", 1.0)]));
    run.tick(13, &[("b", 1.0)]);
    (14..=26).for_each(|t| run.tick(t, &[("a", t as f64 / 3.0), ("b", 1.0)]));
    (20..=22).for_each(|t| run.tick(t, &[("a", t as f64), ("b", 2.0)]));
    run.clock += Duration::from_secs(290);
    (23..=45).for_each(|t| run.tick(t, &[("a", t as f64), ("b", 2.0), ("c", t as f64)]));
    run.kill();
    assert!(files(dir).iter().any(|(name, _)| name.ends_with(".chunks")), "{:?}", files(dir));
}

fn copy(from: &Path, to: &Path) {
    let to = to.join("history");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from.join("history")).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Reads what is there without writing to it.
fn read_only(dir: &Path) -> (History, restore::Found) {
    let mut history = History::new(LIMITS);
    let table = SeriesTable::new(Labels::empty());
    let found = restore::restore(&dir.join("history"), &mut history, &table, at(46)).unwrap();
    (history, found)
}

fn all_samples(history: &History) -> Vec<(String, i64, u64)> {
    let mut all = Vec::new();
    for slot in history.slots.iter().flatten() {
        let samples = slot.sealed.iter().flat_map(|c| c.iter()).chain(slot.head.iter());
        all.extend(samples.map(|(t, v)| (slot.series.labels.to_string(), t, v.to_bits())));
    }
    all.sort();
    all
}

#[test]
fn a_file_that_is_cut_at_any_byte_costs_what_comes_after() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(from.path());
    let whole = all_samples(&read_only(from.path()).0);
    assert!(whole.len() > 90, "{}", whole.len());
    for (name, length) in files(from.path()) {
        copy(from.path(), to.path());
        let path = to.path().join("history").join(&name);
        let bytes = std::fs::read(&path).unwrap();
        let mut last = 0;
        for cut in 0..length {
            std::fs::write(&path, &bytes[..cut as usize]).unwrap();
            let (history, found) = read_only(to.path());
            let got = all_samples(&history);
            let alone = got.iter().all(|s| whole.binary_search(s).is_ok()) || cut < 64;
            assert!(alone, "{name} at {cut}: what was never there");
            assert!(got.windows(2).all(|w| (&w[0].0, w[0].1) != (&w[1].0, w[1].1)), "{name} at {cut}: twice");
            assert_eq!(found.damaged, 0, "{name} at {cut}: a torn end is no damage");
            if cut >= 64 {
                assert!(got.len() >= last, "{name} at {cut}: more of the file gives less");
                last = got.len();
            }
        }
    }
}

#[test]
fn any_byte_that_is_flipped_costs_little_and_is_said() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(from.path());
    let whole = all_samples(&read_only(from.path()).0);
    for (name, length) in files(from.path()) {
        copy(from.path(), to.path());
        let path = to.path().join("history").join(&name);
        let bytes = std::fs::read(&path).unwrap();
        for place in 0..length as usize {
            let mut bad = bytes.clone();
            bad[place] ^= 0x55;
            std::fs::write(&path, &bad).unwrap();
            let (history, found) = read_only(to.path());
            let got = all_samples(&history);
            let invented: Vec<_> = got.iter().filter(|s| whole.binary_search(s).is_err()).collect();
            assert!(invented.is_empty(), "{name} at {place}: {invented:?}");
            // A head or a series' number: what the log has of one series; a tick: itself, and 16 of what rests on it.
            let lost = whole.len() - got.len();
            assert!(lost <= 49, "{name} at {place}: {lost} of {}", whole.len());
            let was_torn = found.damaged == 0;
            assert!(!was_torn || place + 13 + 2000 > length as usize, "{name} at {place}: nothing was said");
        }
    }
}

#[test]
fn files_of_a_later_version_and_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("history")).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join("history").join(name), bytes).unwrap();
    put("00000007-0.chunks", b"wfh\x02C something else");
    put("notes.txt", b"mine");
    let mut run = Run::start(dir.path(), 0);
    (1..=700).for_each(|t| run.tick(t, &samples(t)));
    let before = run.contents();
    run.kill();
    let names: Vec<String> = files(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"00000007-0.chunks".to_string()) && names.contains(&"notes.txt".to_string()), "{names:?}");
    assert_same(&Run::start(dir.path(), 700).contents(), &before, "after the restart");
}

#[test]
fn of_a_store_that_is_larger_than_allowed_the_newest_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    for t in 1..=4000i64 {
        let noise = |k: i64| (t * 7919 + k).wrapping_mul(0x5851_f42d_4c95_7f2d) as f64 / 3.0;
        run.tick(t, &[("a", noise(1)), ("b", noise(2)), ("c", noise(3)), ("d", noise(4))]);
    }
    run.kill();
    let small = HistoryLimits { max_bytes: 50_000, max_series: 3, ..LIMITS };
    let run = Run::with(dir.path(), 4000, small, Vec::new());
    assert!(run.history.stats().bytes <= 50_000, "{}", run.history.stats().bytes);
    assert_eq!(run.history.stats().series, 3);
    assert_eq!(run.values("a").last().unwrap().0, 4000);
}

#[test]
fn no_file_makes_reading_panic() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(from.path());
    let read =
        |(name, _): (String, u64)| (name.clone(), std::fs::read(from.path().join("history").join(name)).unwrap());
    let all: Vec<(String, Vec<u8>)> = files(from.path()).into_iter().map(read).collect();
    std::fs::create_dir(to.path().join("history")).unwrap();
    for extension in [".chunks", ".log"] {
        let good: Vec<&[u8]> = all.iter().filter(|(n, _)| n.ends_with(extension)).map(|(_, b)| b.as_slice()).collect();
        let path = to.path().join(format!("history/00000001-0{extension}"));
        crate::fuzz::Fuzz::of(&good).heap(8 << 20).bytes(|bytes| {
            std::fs::write(&path, bytes).unwrap();
            let _ = all_samples(&read_only(to.path()).0);
        });
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn no_frame_that_has_a_good_checksum_makes_reading_panic() {
    let from = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    small(from.path());
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for (name, _) in files(from.path()) {
        let bytes = std::fs::read(from.path().join("history").join(name)).unwrap();
        payloads.extend(frame::Frames::new(&bytes).map(|(kind, payload)| [&[kind], payload].concat()));
    }
    std::fs::create_dir(to.path().join("history")).unwrap();
    let head = payloads.iter().find(|p| p[0] == frame::Kind::Head as u8).unwrap().clone();
    crate::fuzz::Fuzz::of(&payloads).heap(32 << 20).bytes(|bytes| {
        let mut file = Vec::new();
        for payload in [&head[..], bytes] {
            let begin = frame::begin(&mut file, frame::Kind::Chunk);
            file.extend_from_slice(payload.get(1..).unwrap_or(&[]));
            if let (Some(place), Some(kind)) = (file.get_mut(begin + 4), payload.first()) {
                *place = *kind;
            }
            frame::finish(&mut file, begin);
        }
        for extension in [".chunks", ".log"] {
            let path = to.path().join(format!("history/00000001-0{extension}"));
            std::fs::write(&path, &file).unwrap();
            let (mut history, _) = read_only(to.path());
            let _ = all_samples(&history);
            history.gc(at(100_000));
            std::fs::remove_file(&path).unwrap();
        }
    });
}
