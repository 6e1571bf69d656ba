//! Finds rule files by pattern.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::file::read_document_for;
use super::spec::GroupSpec;
use crate::glob::{has_meta, matches};
use crate::yaml::{Document, Faults, Node, read_text};

/// Reads all files that the `rule_files` of a configuration name, relative to `base`, the directory of the
/// configuration file. `node` is the list, for the place of its faults; `faults` must have been told of its file.
/// `actions`: the names of those that the configuration has.
pub fn read_rule_files(node: &Node, base: &Path, actions: &BTreeSet<&str>, faults: &mut Faults) -> Vec<GroupSpec> {
    let mut groups = Vec::new();
    let mut done: Vec<PathBuf> = Vec::new();
    // Faults within the files name those files; they are added when all is said about the list itself.
    let mut within = Faults::default();
    for item in node.items() {
        let Some(pattern) = item.as_str().filter(|p| !p.is_empty()) else {
            faults.unexpected(item, "the path of a rule file");
            continue;
        };
        let path = base.join(pattern);
        let found = match expand(&path) {
            Ok(found) => found,
            Err(message) => {
                faults.error(item.at, format!("rule files {pattern:?}: {message}"));
                continue;
            }
        };
        if found.is_empty() {
            faults.warn(item.at, format!("no rule file is named {pattern:?}"));
        }
        for path in found {
            if done.contains(&path) {
                continue;
            }
            match read_text(&path) {
                Ok(text) => {
                    let document = Document::parse(&path.display().to_string(), &text, &mut within);
                    groups.extend(read_document_for(&document, Some(actions), &mut within));
                }
                Err(e) => faults.error(item.at, format!("rule file {}: {e}", path.display())),
            }
            done.push(path);
        }
    }
    faults.extend(within);
    groups
}

/// The rule files that a list names, each as it stands; those that cannot be read are left out, as [`read_rule_files`]
/// has told of them.
pub fn rule_documents(node: &Node, base: &Path) -> Vec<Document> {
    let patterns = node.items().iter().filter_map(Node::as_str);
    let mut paths: Vec<PathBuf> = patterns.filter_map(|p| expand(&base.join(p)).ok()).flatten().collect();
    let mut done: Vec<PathBuf> = Vec::new();
    paths.retain(|path| {
        !done.contains(path) && {
            done.push(path.clone());
            true
        }
    });
    let texts = paths.iter().filter_map(|path| Some((path.display().to_string(), read_text(path).ok()?)));
    texts.map(|(name, text)| Document::parse(&name, &text, &mut Faults::default())).collect()
}

/// The files that a path names, in order; as in Prometheus only its last part may be a pattern.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else {
        return Err("not a path of a file".into());
    };
    let name = name.to_string_lossy();
    if has_meta(&parent.to_string_lossy()) {
        return Err("only the last part of the path may be a pattern".into());
    }
    if !has_meta(&name) {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("{}: {e}", parent.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", parent.display()))?;
        if matches(name.as_bytes(), entry.file_name().as_bytes()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_files_are_found_by_pattern_and_faults_name_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let rule = |name: &str| format!("groups: [{{name: {name}, rules: [{{record: a, expr: up}}]}}]\n");
        fs::write(dir.path().join("a.yml"), rule("a")).unwrap();
        fs::write(dir.path().join("b.yml"), rule("b")).unwrap();
        let acts = "groups:\n- name: c\n  rules:\n  - {alert: A, expr: up, actions: [mend, mned]}\n";
        fs::write(dir.path().join("acts.yaml"), acts).unwrap();
        fs::write(dir.path().join("bad.yaml"), "groups:\n- nam: x\n").unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        let mut faults = Faults::default();
        let list = "[\"*.yml\", b.yml, bad.yaml, missing.yml, none*.yml, \"x*/y.yml\", dir, acts.yaml]\n";
        let document = Document::parse("main.yaml", list, &mut faults);
        let groups = read_rule_files(&document.root, dir.path(), &BTreeSet::from(["mend"]), &mut faults);
        let names: Vec<_> = groups.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "", "c"]);
        let text = faults.to_string();
        for part in [
            "main.yaml:1:28: rule file ",
            "main.yaml:1:41: warning: no rule file is named \"none*.yml\"",
            "main.yaml:1:52: rule files \"x*/y.yml\": only the last part",
            "dir: not a regular file",
            "bad.yaml:2:3: unknown key \"nam\", did you mean \"name\"?",
            "bad.yaml:2:3: a group needs a name",
            "acts.yaml:4:42: the action \"mned\" is not defined, did you mean \"mend\"?",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
