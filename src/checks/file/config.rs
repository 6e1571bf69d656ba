//! `file:` of a check.

use std::fmt;
use std::time::Duration;

use crate::checks::State;
use crate::checks::local::{Bytes, CountBounds, Severity, SizeBounds};
use crate::yaml::{Faults, FromYaml, Node, Value};

crate::section! {
    check = check;
    /// A file of this host, or several.
    pub struct FileConfig {
        /// The file, or a pattern of several: `*`, `?` and `[a-z]` within a part of the path.
        pub path: String = String::new(),
        /// Whether all regular files below a directory are meant, and not the directory itself.
        pub recursive: bool = false,
        /// Which of several files the keys below are about: `all`, or the `newest` alone (the last of many backups).
        pub of: Which = Which::All,
        /// Since when its content may be or must be unchanged.
        pub age: AgeBounds = AgeBounds::default(),
        /// How large each file should be.
        pub size: SizeBounds = SizeBounds::default(),
        /// Which permissions it may have at most, in octal: 0640 finds a file that others can read.
        pub permissions: Option<Permissions> = None,
        /// The user whose file it must be, by name or number.
        pub owner: Option<String> = None,
        /// The group whose file it must be, by name or number.
        pub group: Option<String> = None,
        /// Its content is hashed, and held against a sum or against that of the last run.
        pub checksum: Option<ChecksumConfig> = None,
        /// How many files there should be.
        pub count: CountBounds = CountBounds::default(),
        /// How large all of them should be together.
        pub total_size: SizeBounds = SizeBounds::default(),
        /// What it means that there is no file: critical where nothing is said and `count` is not given.
        pub missing: Option<Severity> = None,
        /// What any other fault means.
        pub severity: Severity = Severity(State::Critical),
    }
}

crate::section! {
    check = |age: &mut AgeBounds, node: &Node, faults: &mut Faults| {
        if let (Some(older), Some(newer)) = (age.older_than, age.newer_than) && newer >= older {
            faults.error(node.at, "nothing is right: what is not older_than is newer_than");
        }
    };
    /// Since when the content is unchanged.
    pub struct AgeBounds {
        /// What was changed longer ago is a fault: a backup that was not made.
        pub older_than: Option<Duration> = None,
        /// What was changed less long ago is a fault: a file that nobody should touch.
        pub newer_than: Option<Duration> = None,
    }
}

crate::section! {
    check = |checksum: &mut ChecksumConfig, node: &Node, faults: &mut Faults| {
        if let Some(sum) = &mut checksum.sha256 {
            sum.make_ascii_lowercase();
            if sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()) {
                let at = node.place("sha256");
                faults.error(at, "sha256 must be 64 hexadecimal digits, as sha256sum prints them");
            }
        }
    };
    /// The content by its SHA-256.
    pub struct ChecksumConfig {
        /// What the content must be; another is a fault.
        pub sha256: Option<String> = None,
        /// What it means, for one run, that the content is not that of the last run.
        pub changed: Severity = Severity(State::Critical),
        /// A larger file is not hashed, and the check says so: hashing takes a CPU some seconds for each GiB.
        pub limit: Bytes = Bytes(1 << 30),
    }
}

fn check(config: &mut FileConfig, node: &Node, faults: &mut Faults) {
    if !config.path.starts_with('/') {
        let at = node.place("path");
        faults.error(at, "a file check needs a path, from / on");
    }
}

/// Which of several files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    All,
    Newest,
}

impl FromYaml for Which {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("all") => Some(Which::All),
            Some("newest") => Some(Which::Newest),
            _ => {
                faults.unexpected(node, "all or newest");
                None
            }
        }
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(match self {
            Which::All => "all",
            Which::Newest => "newest",
        }))
    }
}

/// Permission bits, as chmod takes them in octal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permissions(pub u32);

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromYaml for Permissions {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        // As it is written: 0640 is no number of YAML's, and 640 is meant in octal too.
        let text = node.as_str().map(|text| text.strip_prefix("0o").unwrap_or(text));
        let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
        let bits = digits.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|bits| *bits <= 0o7777);
        if bits.is_none() {
            faults.unexpected(node, "permissions in octal, such as 0640");
        }
        bits.map(Permissions)
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(self.to_string()))
    }
}
