//! What holds whatever processes do and files hold.

use proptest::prelude::*;

use super::*;
use crate::fuzz::{self, Corpus};

fn shown() -> impl Strategy<Value = Shown> {
    let name = prop::sample::select(vec![&b"web"[..], b"db", b"a b", b"x) R 1 (", b"\xff\xfe", b"l\nf", b""]);
    let counts = (0u64..500, 0u64..500, any::<u64>(), 0u64..50, any::<u64>(), 0u64..1000);
    let rest = (prop::sample::select(vec!['R', 'S', 'D', 'Z', 'T', 'I', 'x']), 1u32..3, 1u64..4, 0u64..3, 0usize..3);
    (name, counts, rest).prop_map(|(comm, counts, (state, threads, start, ran, open))| {
        let (user, system, faults, switches, read, written) = counts;
        Shown {
            comm: comm.to_vec(),
            state,
            flags: 0,
            start,
            user,
            system,
            faults,
            threads,
            pages: open as u64,
            ran,
            switches,
            read,
            written,
            open,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_processes_do_no_counter_goes_back(
        ticks in prop::collection::vec(prop::collection::btree_map(1u32..6, shown(), 0..5), 1..8),
        refresh_ticks in 1u32..4,
    ) {
        let tree = Tree::new();
        let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks, max_groups: 3, ..ProcessesConfig::default() });
        let mut before = BTreeMap::new();
        for shown in ticks {
            for pid in 1..6 {
                match shown.get(&pid) {
                    Some(p) => tree.show(pid, p),
                    None if tree.path(&pid.to_string()).exists() => tree.remove(pid),
                    None => {}
                }
            }
            watch.tick();
            prop_assert_eq!(watch.get("node_processes_pids"), Some(shown.len() as f64));
            let in_groups: f64 = watch.values.iter()
                .filter(|(k, _)| k.starts_with("namedprocess_namegroup_num_procs"))
                .map(|(_, v)| *v)
                .sum();
            prop_assert_eq!(in_groups, shown.len() as f64);
            let counters = |(k, _): &(&String, &f64)| k.contains("_total");
            for (series, value) in watch.values.iter().filter(counters) {
                prop_assert!(before.get(series).is_none_or(|last| last <= value), "{} {}", series, value);
            }
            before = watch.values.clone();
        }
    }
}

#[test]
fn garbage_in_any_file_makes_no_panic_and_harms_nobody_else() {
    const FILES: [&str; 6] = ["stat", "status", "io", "limits", "schedstat", "fd"];
    let good = Tree::new();
    good.show(11, &Shown::default());
    let texts = FILES.map(|file| fs::read(good.path(&format!("11/{file}"))).unwrap_or_default());
    let corpus = Corpus::of(&texts);
    fuzz::run(1, |random| {
        let tree = Tree::new();
        tree.show(10, &Shown::default());
        tree.show(11, &Shown { comm: b"broken".to_vec(), ..Shown::default() });
        let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks: 2, ..ProcessesConfig::default() });
        if random.once_in(2) {
            watch.tick();
        }
        if random.once_in(4) {
            let number = random.next() >> random.below(64);
            if number != 10 && number != 11 {
                tree.write(&format!("{number}/stat"), b"");
            }
        }
        for _ in 0..=random.below(3) {
            let which = random.below(FILES.len());
            let mut text = texts[which].clone();
            if random.once_in(3) {
                corpus.make(random, &mut text);
            } else {
                corpus.damage(random, &mut text);
            }
            let path = tree.path(&format!("11/{}", FILES[which]));
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
        }
        for _ in 0..3 {
            watch.tick();
            let web = watch.get("num_procs{groupname=\"web\"}");
            assert!(web.is_some_and(|n| n >= 1.0), "{web:?}");
        }
    });
}
