//! `/api/v2/status`.

use serde_json::json;

use super::time::printed;
use crate::http::About;

/// The Alertmanager whose API this is and who reads the configuration that is shown: Debian's, whose amtool warns of any
/// other.
const ALERTMANAGER_VERSION: &str = "0.25.0";

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
            "version": ALERTMANAGER_VERSION,
            "watchfireVersion": env!("CARGO_PKG_VERSION"),
        },
    }))
}
