//! `/api/v2/status`.

use serde_json::json;

use super::time::printed;
use crate::http::About;

/// An agent is alone: there is no cluster.
pub(super) fn status(about: &About) -> Vec<u8> {
    super::json(&json!({
        "cluster": {"peers": [], "status": "disabled"},
        "config": {"original": &*about.alertmanager_config},
        "uptime": printed(about.started),
        "versionInfo": {
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": "",
            "version": env!("CARGO_PKG_VERSION"),
        },
    }))
}
