//! Processes as they are seldom.

use super::*;

#[test]
fn a_process_that_renames_itself_each_second_does_not_fill_the_groups() {
    let tree = Tree::new();
    let mut watch = Watch::new(&tree, eager());
    for second in 0..50u64 {
        let comm = format!("work {second}").into_bytes();
        tree.show(10, &Shown { comm, user: 100 + second, ..Shown::default() });
        watch.tick();
    }
    assert_eq!(watch.get("watchfire_process_groups"), Some(8.0));
    let used: f64 = (0..50).filter_map(|second| watch.cpu_user(&format!("work {second}"))).sum();
    assert!((used - 0.49).abs() < 1e-9, "all that it used is in one of them: {used}");
}

#[test]
fn a_name_that_is_not_utf_8_is_shown_as_far_as_it_is() {
    let tree = Tree::new();
    tree.show(10, &Shown { comm: b"caf\xe9 \xff".to_vec(), ..Shown::default() });
    let mut watch = Watch::new(&tree, ProcessesConfig { top: 5, ..eager() });
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"caf\u{fffd} \u{fffd}\"}"), Some(1.0));
    let labels = "comm=\"caf\u{fffd} \u{fffd}\"";
    assert!(watch.values.keys().any(|k| k.starts_with("watchfire_process_threads") && k.contains(labels)));
}

#[test]
fn of_a_command_line_of_megabytes_the_start_counts() {
    use crate::yaml::{Document, Faults};
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.show(11, &Shown::default());
    let long =
        [b"/usr/bin/web\0--x\0".to_vec(), vec![b'a'; 64 << 10], b"\0--marked".to_vec(), vec![0; 2 << 20]].concat();
    tree.write("10/cmdline", &long);
    tree.write("11/cmdline", b"/usr/bin/web\0--marked\0");
    let mut faults = Faults::default();
    let text = "groups: [{cmdline: ['--marked'], name: marked}, {exe: [web], name: plain}]\ncommand_lines: true\n";
    let mut config: ProcessesConfig = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    config.refresh_ticks = 1;
    let mut watch = Watch::new(&tree, config);
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"marked\"}"), Some(1.0));
    assert_eq!(watch.get("num_procs{groupname=\"plain\"}"), Some(1.0));
    assert!(watch.values.keys().all(|k| k.len() < 2000), "labels are short");
    assert!(watch.values.keys().any(|k| k.contains("cmdline=\"/usr/bin/web --marked\"")));
}

#[test]
fn a_process_in_no_group_is_counted_and_served_by_itself_all_the_same() {
    use crate::yaml::{Document, Faults};
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    let mut faults = Faults::default();
    let text = "groups: [{comm: [other]}]\nwanted: {db: 2}\n";
    let config: ProcessesConfig = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
    let mut watch = Watch::new(&tree, config);
    watch.tick();
    assert_eq!(watch.get("watchfire_processes{state=\"sleeping\"}"), Some(1.0));
    assert!(watch.values.keys().any(|k| k.starts_with("watchfire_process_threads{pid=\"10\"")));
    assert_eq!(watch.get("num_procs{groupname=\"db\"}"), Some(0.0), "wanted, and not there");
    assert_eq!(watch.get("watchfire_process_group_wanted_processes{groupname=\"db\"}"), Some(2.0));
    assert_eq!(watch.get("watchfire_process_groups"), Some(1.0));
}

#[test]
fn what_a_process_waits_for_and_who_does_not_wait_for_it_are_told() {
    let tree = Tree::new();
    let parent = Shown { comm: b"parent".to_vec(), ..Shown::default() };
    tree.show(1, &parent);
    tree.show(10, &Shown { state: 'Z', comm: b"child".to_vec(), ..Shown::default() });
    let stuck = Shown { state: 'D', comm: b"stuck".to_vec(), ..Shown::default() };
    tree.show(11, &stuck);
    let mut watch = Watch::new(&tree, eager());
    let longest = "watchfire_process_group_longest_uninterruptible_seconds{groupname=\"stuck\"}";
    watch.tick();
    assert_eq!(watch.get("watchfire_process_group_zombie_children{groupname=\"parent\"}"), Some(1.0));
    assert_eq!(watch.get(longest), None);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    watch.tick();
    assert_eq!(watch.get(longest), Some(1.0));
    tree.show(11, &Shown { user: 101, ran: 5_000_001, ..stuck });
    watch.tick();
    assert_eq!(watch.get(longest), Some(0.0), "it has run in between");
}
