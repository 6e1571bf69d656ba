//! What the tests of local checks share.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use crate::checks::{Families, Look, State, Verdict};
use crate::collect::testing::{self, Tree};
use crate::exposition::families::{merge, write};
use crate::model::{Labels, SeriesTable, Writer};
use crate::yaml::{Document, FromYaml};

/// A section that is read from this text without a fault.
pub fn config<T: FromYaml + Default>(text: &str) -> T {
    let (config, faults) = read(text);
    assert_eq!(faults, "");
    config
}

/// A section that is read from this text, and its faults.
pub fn read<T: FromYaml + Default>(text: &str) -> (T, String) {
    let mut faults = crate::yaml::Faults::default();
    let config = Document::parse("test", text, &mut faults).read(&mut faults);
    (config, faults.to_string())
}

/// One run: what it says, and its samples as the text format prints them, without the label of the check.
pub fn run(look: &dyn Look) -> (Verdict, Vec<String>) {
    let mut families = Families::new(Arc::new(Labels::empty()));
    let verdict = look.look(&mut families);
    let kept = families.into_kept();
    let (merged, conflicts) = merge(&[("test", &kept)]);
    assert_eq!(conflicts, []);
    let mut writer = Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), testing::SERIES);
    write(&merged, |_| &kept, &mut writer);
    (verdict, testing::lines(&writer.finish().0))
}

/// The state and the summary of one run.
pub fn said(look: &dyn Look) -> (State, String) {
    let (verdict, _) = run(look);
    (verdict.state, verdict.summary)
}

/// Runs something as a user who is not let everywhere, on a thread that alone is that user.
pub fn as_nobody(tree: &Tree, run: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        return run();
    }
    for path in ["", "root"] {
        std::fs::set_permissions(tree.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65534)).unwrap();
            run();
        });
        other.join().unwrap();
    });
}
