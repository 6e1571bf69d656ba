//! What collectors of sysfs classes share: a folder for each device, and in it a file for each attribute.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::sysfs::{Attributes, Folder, names};
use super::{CollectError, number};

/// A device's name, or what is left of it behind a prefix, and its folder.
pub(super) type Device = (Vec<u8>, PathBuf);

/// The devices of a class in the order of their names.
pub(super) fn devices(class: &Path) -> Result<Vec<Device>, CollectError> {
    Ok(names(class)?.into_iter().map(|n| (n.as_bytes().to_vec(), class.join(&n))).collect())
}

/// The devices of a class that may not be there: then there are none of them, and that is a success. node_exporter looks
/// for some classes with a pattern, and people alert on its `node_scrape_collector_success`.
pub(super) fn devices_if_any(class: &Path) -> Result<Vec<Device>, CollectError> {
    match devices(class) {
        Err(CollectError::NoData(_)) => Ok(Vec::new()),
        found => found,
    }
}

/// Of the devices that there may be, those that are named `prefix` and a number, in the order of their numbers, by these.
pub(super) fn numbered(class: &Path, prefix: &str) -> Result<Vec<Device>, CollectError> {
    let mut numbered: Vec<Device> = devices_if_any(class)?
        .into_iter()
        .filter_map(|(name, folder)| Some((name.strip_prefix(prefix.as_bytes())?.to_vec(), folder)))
        .filter(|(number, _)| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
        .collect();
    numbered.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    Ok(numbered)
}

/// Reads attributes, of which none must be there: what is absent, or not for this user to read, is `None`. Of those that
/// do not say what they should, the first is kept for the end of the run, so that the others are served.
#[derive(Default)]
pub(super) struct Reading {
    attributes: Attributes,
    fault: Option<CollectError>,
}

impl Reading {
    pub fn text(&mut self, path: &Path) -> Option<&[u8]> {
        permitted(self.attributes.text(path), &mut self.fault)
    }

    pub fn text_in(&mut self, folder: &Folder, name: &str) -> Option<&[u8]> {
        permitted(self.attributes.text_in(folder, name), &mut self.fault)
    }

    /// A decimal number in a folder that may be open.
    pub fn number_in(&mut self, folder: &Folder, name: &str) -> Option<f64> {
        let text = permitted(self.attributes.text_in(folder, name), &mut self.fault)?;
        let read = number(text).filter(|n| n.is_finite());
        if read.is_none() {
            let what = format!("{:?} is no number", String::from_utf8_lossy(text));
            self.fault.get_or_insert_with(|| CollectError::parse(&folder.path_of(name), 0, what));
        }
        read
    }

    /// A number, decimal or after 0x hexadecimal.
    pub fn number(&mut self, path: &Path) -> Option<f64> {
        let text = self.text(path)?;
        let read = match text.strip_prefix(b"0x") {
            Some(digits) => hexadecimal(digits),
            None => number(text).filter(|n| n.is_finite()),
        };
        if read.is_none() {
            let what = format!("{:?} is no number", String::from_utf8_lossy(text));
            self.fault.get_or_insert(CollectError::parse(path, 0, what));
        }
        read
    }

    /// The numbers in these files of a folder.
    pub fn numbers<const N: usize>(&mut self, folder: &Path, files: [&str; N]) -> [Option<f64>; N] {
        files.map(|file| self.number(&folder.join(file)))
    }

    /// The texts in these files of a folder.
    pub fn texts<const N: usize>(&mut self, folder: &Path, files: [&str; N]) -> [Option<Vec<u8>>; N] {
        files.map(|file| self.text(&folder.join(file)).map(<[u8]>::to_vec))
    }

    /// Keeps a fault, unless it only says that there is nothing.
    pub fn keep(&mut self, error: CollectError) {
        if !matches!(error, CollectError::NoData(_)) {
            self.fault.get_or_insert(error);
        }
    }

    /// Ends the run: what was wrong in it.
    pub fn finish(&mut self) -> Result<(), CollectError> {
        self.fault.take().map_or(Ok(()), Err)
    }
}

/// What was read, if this user may read it; what else is wrong is kept as the run's fault.
fn permitted<'b>(read: Result<Option<&'b [u8]>, CollectError>, fault: &mut Option<CollectError>) -> Option<&'b [u8]> {
    match read {
        Ok(text) => text,
        Err(CollectError::Read { error, .. }) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(error) => {
            fault.get_or_insert(error);
            None
        }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<f64> {
    Some(u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()? as f64)
}

/// A text as part of a metric's name, by node_exporter's rule: small letters, digits, colons and underscores, and no
/// underscores at the ends.
pub(super) fn metric_name_part(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' { c } else { '_' };
    text.chars().map(plain).collect::<String>().trim_matches('_').to_string()
}

/// What node_exporter calls a device: its bus or class and its own name, `platform_coretemp_0`. `link` leads to its
/// folder.
pub(super) fn device_name(link: &Path) -> Option<String> {
    let folder = std::fs::canonicalize(link).ok()?;
    let part = |path: Option<&Path>| path.and_then(Path::file_name).map(|n| metric_name_part(n.as_bytes()));
    let name = part(Some(&folder)).filter(|n| !n.is_empty())?;
    Some(match part(folder.parent()) {
        Some(bus) if !bus.is_empty() => format!("{bus}_{name}"),
        _ => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;

    #[test]
    fn devices_are_in_the_order_of_their_numbers() {
        let tree = Tree::new(&[("d/cpu10/x", "1\n"), ("d/cpu9/x", "0x1f\n"), ("d/cpufreq/x", "y\n"), ("d/cpu/x", "")]);
        let found = numbered(&tree.path("d"), "cpu").unwrap();
        let found: Vec<_> = found.iter().map(|(n, _)| String::from_utf8_lossy(n)).collect();
        assert_eq!(found, ["9", "10"]);
        assert!(numbered(&tree.path("none"), "cpu").unwrap().is_empty());
        assert!(matches!(devices(&tree.path("none")), Err(CollectError::NoData(_))));
    }

    #[test]
    fn a_wrong_attribute_is_named_at_the_end_and_the_others_are_read() {
        let tree = Tree::new(&[("d/a", "12\n"), ("d/b", "0x1f\n"), ("d/c", "y\n"), ("d/e", "nan\n")]);
        let mut reading = Reading::default();
        let read = reading.numbers(&tree.path("d"), ["c", "a", "b", "none", "e"]);
        assert_eq!(read, [None, Some(12.0), Some(31.0), None, None]);
        let error = reading.finish().unwrap_err().to_string();
        assert!(error.ends_with("d/c: \"y\" is no number"), "{error}");
        assert!(reading.finish().is_ok());
    }

    #[test]
    fn parts_of_names() {
        assert_eq!(metric_name_part(b"coretemp.0"), "coretemp_0");
        assert_eq!(metric_name_part(b"_ASUS-nb wmi\n"), "asus_nb_wmi");
        assert_eq!(metric_name_part("\u{fc}\u{fc}".as_bytes()), "");
    }
}
