//! What takes the rights of root, and what looks different without them.

use std::path::Path;

use super::leaks::{INNER, again};

/// Whether this is root. A test that takes root is passed over where it is not, but that is a failure where nothing may be
/// passed over (`WATCHFIRE_REQUIRE_PEERS`).
pub(in crate::pool) fn is_root_or_skipped(what_takes_root: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let why = format!("only root can {what_takes_root}: run the tests as root");
        assert!(std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    is_root
}

/// Runs a test again as a user without any privilege, where `inner` is what it does then. `given` is an environment
/// variable with a path.
pub(super) fn as_nobody(module: &str, test: &str, given: Option<(&str, &Path)>, inner: impl Future<Output = ()>) {
    if std::env::var_os(INNER).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(inner);
        return;
    }
    if !is_root_or_skipped("become nobody") {
        return;
    }
    let program = again(module, test);
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(program.get_program())
        .args(program.get_args())
        .env(INNER, "1")
        .envs(given)
        .output()
        .expect("setpriv, of util-linux, is everywhere");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}
