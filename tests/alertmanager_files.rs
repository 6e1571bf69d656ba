//! Files of Alertmanagers, as they are in the world, against Debian's `amtool check-config`: what it takes, the agent
//! takes, named by `config_file` or pasted under `alerting:`; what it refuses, the agent refuses, and says where and why.
//!
//! `tests/fixtures/alertmanager_files/taken`, and `refused`, where the first line of a file is what the agent says of it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{peer, run};

fn files(kind: &str) -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager_files").join(kind);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&dir).expect("the directory is there").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("it is text"))).collect()
}

/// What amtool makes of a file; `None` where it is not installed.
fn amtool_takes(file: &Path) -> Option<bool> {
    let output = Command::new(peer("amtool")?).arg("check-config").arg(file).output().expect("amtool runs");
    Some(output.status.success())
}

/// Whether the agent takes a file of an Alertmanager, and what it says of it: named, and pasted.
fn agent_takes(file: &Path, text: &str) -> [(bool, String); 2] {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let indented = |line: &str| if line.is_empty() { "\n".to_string() } else { format!("  {line}\n") };
    // Nobody pastes the marks of a document's begin and end.
    let pasted: String = text.lines().filter(|line| !["---", "..."].contains(line)).map(indented).collect();
    ["config_file", "pasted"].map(|how| {
        let config = dir.path().join(format!("{how}.yaml"));
        let section = if how == "pasted" { pasted.clone() } else { format!("  config_file: {}\n", file.display()) };
        fs::write(&config, format!("alerting:\n{section}")).expect("a file is written");
        let output = run(&["check", "config", &config.display().to_string()]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    })
}

#[test]
fn what_amtool_takes_the_agent_takes() {
    let files = files("taken");
    assert!(files.len() >= 15);
    for (file, text) in files {
        assert_ne!(amtool_takes(&file), Some(false), "{} is no file of an Alertmanager", file.display());
        for (taken, said) in agent_takes(&file, &text) {
            assert!(taken, "{}: {said}", file.display());
        }
    }
}

#[test]
fn what_amtool_refuses_the_agent_refuses_and_says_where_and_why() {
    let files = files("refused");
    assert!(files.len() >= 15);
    for (file, text) in files {
        assert_ne!(amtool_takes(&file), Some(true), "{} is a file of an Alertmanager", file.display());
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("what is said of it");
        let words = expected.split_once(": ").expect("a place, then words").1;
        let [named, pasted] = agent_takes(&file, &text);
        assert!(!named.0 && named.1.contains(&format!("{}:{expected}", file.display())), "{expected}: {}", named.1);
        // A paste that lacks the route is told that its receivers are never told.
        let words = if expected.ends_with("needs a route") { "add a route" } else { words };
        assert!(!pasted.0 && pasted.1.contains(words), "{words}: {}", pasted.1);
    }
}
