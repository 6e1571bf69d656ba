//! Checksums of files, kept from run to run.

use std::collections::HashMap;
use std::fmt;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::checks::local::{Bytes, open_regular};

/// Files whose checksums are remembered.
const MAX_FILES: usize = 1000;
/// Read at once.
const CHUNK: usize = 64 << 10;
/// A file that was changed less long ago than this before it was read may be changed again without its time of change
/// being another: kernels take it from a clock that moves a few times in a hundredth of a second, some file systems
/// from one that moves every two seconds.
const SETTLED: Duration = Duration::from_secs(3);
/// Digits of a sum by which people tell sums apart.
pub const SHORT: usize = 12;

#[derive(Default)]
pub struct Sums {
    known: HashMap<PathBuf, Known>,
    run: u64,
}

struct Known {
    stamp: Stamp,
    /// Whether the same stamp means the same content.
    settled: bool,
    digest: Digest,
    changes: u64,
    /// The last run that it was seen in.
    run: u64,
}

type Digest = [u8; SHA256_OUTPUT_LEN];

/// What the kernel says of a file's state. The time of the inode's change cannot be set by hand.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).is_ok_and(|now| now - self.changed.0 >= SETTLED.as_secs() as i64)
    }
}

/// A file's checksum.
pub struct Sum {
    digest: Digest,
    /// Whether it was another when it was last looked at.
    pub changed: bool,
    /// How often it was another.
    pub changes: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Sum {
    /// Its first digits.
    pub fn short(&self) -> String {
        self.to_string().chars().take(SHORT).collect()
    }

    /// Whether it is this one, in lower-case hexadecimal digits.
    pub fn is(&self, wanted: &str) -> bool {
        self.to_string() == wanted
    }
}

impl Sums {
    /// The checksum of a file; it is read only when the kernel says that it may have changed.
    ///
    /// # Errors
    /// It cannot be read, is no regular file or larger than `limit`, or too many are remembered already.
    pub fn hash(&mut self, path: &Path, metadata: &Metadata, limit: Bytes, now: SystemTime) -> Result<Sum, String> {
        if !metadata.is_file() {
            return Err("is not a regular file, and not hashed".to_string());
        }
        let stamp = Stamp::of(metadata);
        let known = self.known.get_mut(path);
        if let Some(known) = known
            && known.settled
            && known.stamp == stamp
        {
            known.run = self.run;
            return Ok(Sum { digest: known.digest, changed: false, changes: known.changes });
        }
        if !self.known.contains_key(path) && self.known.len() >= 2 * MAX_FILES {
            return Err(format!("not hashed: the check has more than {MAX_FILES} files"));
        }
        let (stamp, digest) = digest(path, limit)?;
        let (settled, run) = (stamp.is_settled(now), self.run);
        let known = self.known.entry(path.to_path_buf()).or_insert(Known { stamp, settled, digest, changes: 0, run });
        let changed = known.digest != digest;
        let changes = known.changes + u64::from(changed);
        *known = Known { stamp, settled, digest, changes, run };
        Ok(Sum { digest, changed, changes })
    }

    /// Forgets files that were not seen in this run, where there are many: names may be new every day.
    pub fn end_run(&mut self) {
        if self.known.len() > MAX_FILES {
            self.known.retain(|_, known| known.run == self.run);
        }
        self.run += 1;
    }
}

/// The SHA-256 of a file, and its state before it was read.
fn digest(path: &Path, limit: Bytes) -> Result<(Stamp, Digest), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = open_regular(path).map_err(cannot)?;
    let stamp = Stamp::of(&file.metadata().map_err(cannot)?);
    let too_large = || format!("is larger than {limit}, and not hashed");
    if stamp.size > limit.0 {
        return Err(too_large());
    }
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut read = 0;
    // One byte more, to see that it has grown beyond.
    let mut input = file.take(limit.0.saturating_add(1));
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                read += n as u64;
                context.update(chunk.get(..n).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot(error)),
        }
    }
    if read > limit.0 {
        return Err(too_large());
    }
    let digest = context.finish();
    let digest = digest.as_ref().try_into().map_err(|_| "SHA-256 has another length".to_string())?;
    Ok((stamp, digest))
}
