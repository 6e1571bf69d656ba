//! `os`: the distribution, from `/etc/os-release`, or `/usr/lib/os-release`, under rootfs.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_os_info` | gauge, always 1 | `build_id`, `id`, `id_like`, `image_id`, `image_version`, `name`, `pretty_name`, `variant`, `variant_id`, `version`, `version_codename`, `version_id` |
//! | `node_os_version` | gauge: the version's first two numbers | `id`, `id_like`, `name` |
//! | `node_os_support_end_timestamp_seconds` | gauge | |
//!
//! The file is read again when its time of change is another. See os-release(5) for its format.
//!
//! Configuration: none.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{CollectError, Collector, Roots, read_small};
use crate::model::Writer;

crate::section! {
    /// `collectors.os`.
    pub struct OsConfig {}
}

/// The labels of `node_os_info`; in capitals, the file's keys.
const LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// The `os` collector.
pub struct Os {
    paths: [PathBuf; 2],
    /// Which of the files, when it was changed, and what it says.
    release: Option<((usize, SystemTime), Release)>,
}

/// What an os-release file says.
#[derive(Default)]
struct Release {
    /// By [`LABELS`].
    values: [String; 12],
    /// Major and minor part of `VERSION_ID`.
    version: Option<f64>,
    /// Seconds since 1970.
    support_end: Option<f64>,
}

impl Os {
    pub fn new(_: &OsConfig, roots: &Roots) -> Os {
        Os { paths: ["/etc/os-release", "/usr/lib/os-release"].map(|p| roots.root(p)), release: None }
    }

    /// What the first of the files that is there says.
    fn release(&mut self) -> Result<&Release, CollectError> {
        let [first, second] = &self.paths;
        let changed = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified());
        let (path, version) = match changed(first) {
            Ok(time) => (first, (0, time)),
            Err(_) => (second, (1, changed(second).map_err(|e| CollectError::read(first, e))?)),
        };
        let release = match self.release.take_if(|(known, _)| *known == version) {
            Some((_, release)) => release,
            None => Release::parse(path, read_small(path, &mut Vec::new())?)?,
        };
        Ok(&self.release.insert((version, release)).1)
    }
}

impl Release {
    fn parse(path: &Path, text: &[u8]) -> Result<Release, CollectError> {
        let mut release = Release::default();
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let assignment = line.split_once('=').and_then(|(key, value)| Some((key, unquote(value)?)));
            let Some((key, value)) = assignment else {
                return Err(CollectError::parse(path, i + 1, "not an assignment KEY=value"));
            };
            if key == "SUPPORT_END" {
                let midnight = value.parse::<Date>().map(|d| d.at(0, 0, 0, 0));
                let date = midnight.ok().and_then(|d| TimeZone::UTC.to_timestamp(d).ok());
                let Some(date) = date else {
                    return Err(CollectError::parse(path, i + 1, "SUPPORT_END: not a date YYYY-MM-DD"));
                };
                release.support_end = Some(date.as_second() as f64);
            } else if let Some(at) = LABELS.iter().position(|l| l.eq_ignore_ascii_case(key)) {
                if key == "VERSION_ID" {
                    release.version = version(&value);
                }
                release.values[at] = value;
            }
        }
        Ok(release)
    }
}

/// The value of an assignment as a shell reads it; `None` when a quote is not closed, or something follows it.
fn unquote(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = value.chars();
    let quote = match chars.clone().next() {
        Some(q @ ('"' | '\'')) => {
            chars.next();
            Some(q)
        }
        _ => None,
    };
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == quote => return chars.as_str().trim().is_empty().then_some(out),
            '\\' if quote != Some('\'') => out.push(chars.next()?),
            c => out.push(c),
        }
    }
    quote.is_none().then_some(out)
}

/// `24.4` of `24.4.1`; `None` where the version does not begin with a number, or is 0.
fn version(id: &str) -> Option<f64> {
    let mut points = 0;
    let end = id.find(|c: char| {
        points += usize::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && points == 1)
    });
    id.get(..end.unwrap_or(id.len())).and_then(|v| v.parse().ok()).filter(|v| *v > 0.0)
}

impl Collector for Os {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let release = self.release()?;
        let values = release.values.each_ref().map(|v| v.as_bytes());
        let help = "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, \
            pretty_name, variant, variant_id, version, version_codename, version_id.";
        out.gauge("node_os_info", help, LABELS).put(values, 1.0);
        if let Some(version) = release.version {
            let [_, id, id_like, _, _, name, ..] = values;
            let help = "Metric containing the major.minor part of the OS version.";
            out.gauge("node_os_version", help, ["id", "id_like", "name"]).put([id, id_like, name], version);
        }
        if let Some(end) = release.support_end {
            let help = "Metric containing the end-of-life date timestamp of the OS.";
            out.gauge("node_os_support_end_timestamp_seconds", help, []).put([], end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "# Comment\nNAME=\"Ubuntu\"\nVERSION=\"20.04.2 LTS (Focal Fossa)\"\nID=ubuntu\nID_LIKE='debian'\n\n\
        VERSION_ID=\"20.04\"\nHOME_URL=\"https://www.ubuntu.com/\"\nSUPPORT_END=2030-04-01\n";

    fn build(roots: &Roots) -> Os {
        Os::new(&OsConfig::default(), roots)
    }

    #[test]
    fn the_distribution_its_version_and_its_end() {
        let tree = Tree::new(&[("root/usr/lib/os-release", GOOD)]);
        let expected = [
            "node_os_info{build_id=\"\",id=\"ubuntu\",id_like=\"debian\",image_id=\"\",image_version=\"\",\
             name=\"Ubuntu\",pretty_name=\"\",variant=\"\",variant_id=\"\",version=\"20.04.2 LTS (Focal Fossa)\",\
             version_codename=\"\",version_id=\"20.04\"} 1",
            "node_os_version{id=\"ubuntu\",id_like=\"debian\",name=\"Ubuntu\"} 20.04",
            "node_os_support_end_timestamp_seconds 1901232000",
        ];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected);
    }

    #[test]
    fn etc_comes_first_and_an_upgrade_is_seen() {
        let tree = Tree::new(&[("root/usr/lib/os-release", GOOD)]);
        let mut run = Runner::new(build(&tree.roots()));
        assert!(run.lines()[0].contains("ubuntu"));
        tree.write("root/etc/os-release", "ID=debian\n");
        let lines = run.lines();
        assert!(lines.len() == 1 && lines[0].contains("debian"), "{lines:?}");
    }

    #[test]
    fn versions_and_quotes() {
        for (id, expected) in [("24.4.1", Some(24.4)), ("12", Some(12.0)), ("9.", Some(9.0)), ("", None), ("x", None)] {
            assert_eq!(version(id), expected, "{id}");
        }
        assert_eq!(unquote(r#""a \"b\" \$" "#).as_deref(), Some("a \"b\" $"));
        assert_eq!(unquote(r"'a\b'").as_deref(), Some(r"a\b"));
        for bad in ["\"a", "'a' b", "a\\"] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_file_is_no_data_and_a_bad_line_is_named() {
        let tree = Tree::new::<&str>(&[]);
        assert!(Runner::new(build(&tree.roots())).failure().1.starts_with("no data:"));
        tree.write("root/etc/os-release", "ID=a\nNAME=\"b\n");
        let error = Runner::new(build(&tree.roots())).failure().1;
        assert!(error.ends_with("os-release:2: not an assignment KEY=value"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("root/etc/os-release", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["usr/lib/os-release"], |name| name.starts_with("node_os_"), build);
    }
}
