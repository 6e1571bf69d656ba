//! Where the kernel's files are.

use std::path::{Path, PathBuf};

/// The roots that every path of a collector begins with, so that a captured tree or a container's view can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `--path.procfs`, `/proc`.
    pub procfs: PathBuf,
    /// `--path.sysfs`, `/sys`.
    pub sysfs: PathBuf,
    /// `--path.rootfs`, `/`: where the host's root is seen from here.
    pub rootfs: PathBuf,
    /// `--path.udev.data`, `/run/udev/data`.
    pub udev_data: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into(), udev_data: "/run/udev/data".into() }
    }
}

impl Roots {
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.procfs.join(path)
    }

    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sysfs.join(path)
    }

    /// A path as the host names it (`/var/log`), as it is reached from here.
    pub fn root(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.rootfs.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether these are the running kernel's own files, so that system calls speak of the same host.
    pub fn is_live(&self) -> bool {
        self.procfs == Path::new("/proc")
    }
    /// Whether procfs is a running kernel's, be it mounted elsewhere (a container's `/host/proc`), so that netlink, which
    /// speaks of this process's network namespace, speaks of what its `net/` shows.
    pub fn is_procfs(&self) -> bool {
        const PROC_SUPER_MAGIC: u64 = 0x9fa0;
        self.is_live() || rustix::fs::statfs(&self.procfs).is_ok_and(|s| s.f_type as u64 == PROC_SUPER_MAGIC)
    }
}
