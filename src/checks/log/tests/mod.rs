//! What the tests share: a check of logs in a tree, and what is done to logs.

mod lines;
mod restarts;
mod rotation;
mod worlds;

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use super::*;
use crate::checks::local::testing::{config, read, run, said};
use crate::collect::testing::{Tree, starting};

/// Logs, and the check that follows them.
struct World {
    tree: Tree,
    check: LogCheck,
}

/// Any line counts, by the file's word for it.
const ANY: &str = "patterns: [{name: any, match: .}]";

impl World {
    /// With these logs, and a check of these keys that has run once. What has left its path is let go at once.
    fn new(files: &[(&str, &str)], keys: &str) -> World {
        let world = World::unseen(files, keys);
        said(&world.check);
        world
    }

    /// The same, before the first run.
    fn unseen(files: &[(&str, &str)], keys: &str) -> World {
        let files: Vec<(String, &str)> = files.iter().map(|(path, text)| (format!("root/{path}"), *text)).collect();
        let tree = Tree::new(&files.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>());
        fs::create_dir_all(tree.path("root")).unwrap();
        let mut check = LogCheck::new(&config(&format!("{{{keys}}}")), &tree.roots(), None);
        check.grace = Duration::ZERO;
        World { tree, check }
    }

    fn append(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.tree.path(&format!("root/{path}"));
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.tree.path(&format!("root/{from}")), self.tree.path(&format!("root/{to}"))).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.tree.path(&format!("root/{from}")), self.tree.path(&format!("root/{to}"))).unwrap();
    }

    /// Empties a file, as `truncate -s 0` does.
    fn empty(&self, path: &str) {
        File::options().write(true).open(self.tree.path(&format!("root/{path}"))).unwrap().set_len(0).unwrap();
    }

    fn said(&self) -> (State, String) {
        said(&self.check)
    }

    /// One run; the series of this family, with their values.
    fn run(&self, family: &str) -> Vec<String> {
        let (_, lines) = run(&self.check);
        starting(&lines, &format!("watchfire_check_log_{family}")).into_iter().map(str::to_string).collect()
    }

    /// One run; the value of the only series of this family.
    fn value(&self, family: &str) -> u64 {
        let lines = self.run(family);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// One run; the lines that were read until now.
    fn lines(&self) -> u64 {
        self.value("lines_total")
    }
}
