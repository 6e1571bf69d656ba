//! Chips, and what they are called.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::collect::devices::{device_name, devices, metric_name_part};
use crate::collect::{CollectError, read_small};

/// A chip, which is a folder of the class.
pub(super) struct Chip {
    /// Its label: of all chips none other has it.
    pub name: String,
    /// What the driver calls it: `coretemp`. Empty when it does not say.
    pub readable_name: String,
    pub folder: PathBuf,
}

/// The chips that are there, each by a name of its own.
pub(super) fn list(class: &Path) -> Result<Vec<Chip>, CollectError> {
    let mut buffer = Vec::new();
    let folders = devices(class)?.into_iter().map(|(_, folder)| folder).filter(|folder| folder.is_dir());
    let mut chips: Vec<Chip> = folders
        .filter_map(|folder| {
            let readable_name = metric_name_part(read_small(&folder.join("name"), &mut buffer).unwrap_or_default());
            let name = device_name(&folder.join("device"))
                .or_else(|| (!readable_name.is_empty()).then(|| readable_name.clone()))
                .or_else(|| number_of(&folder))?;
            Some(Chip { name, readable_name, folder })
        })
        .collect();

    // Several chips may be of one device: what the drivers call them tells them apart, or else their numbers.
    let names: Vec<(String, String)> = chips.iter().map(|c| (c.name.clone(), c.readable_name.clone())).collect();
    for (chip, own) in chips.iter_mut().zip(&names) {
        if names.iter().filter(|(name, _)| *name == own.0).count() > 1 {
            let alone = !own.1.is_empty() && names.iter().filter(|other| *other == own).count() == 1;
            let part = if alone {
                Some(own.1.clone())
            } else {
                chip.folder.file_name().map(|n| metric_name_part(n.as_bytes()))
            };
            chip.name = format!("{}_{}", chip.name, part.unwrap_or_default());
        }
    }
    Ok(chips)
}

/// `hwmon4`, the name of the folder behind the class's link.
fn number_of(folder: &Path) -> Option<String> {
    let folder = std::fs::canonicalize(folder).ok()?;
    Some(metric_name_part(folder.file_name()?.as_bytes())).filter(|name| !name.is_empty())
}
