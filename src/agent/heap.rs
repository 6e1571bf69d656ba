//! Keeps the heap as small as what is in it.
//!
//! glibc's allocator gives each thread an arena and keeps what was freed in it. On a host whose processes come and go,
//! the labels of a new series lie between the large buffers of layouts that live for a tick, so the holes are too small
//! for the next buffer and the arena grows: 8 MB of 21 after an hour of builds. So large buffers come from the system
//! and go back to it, and once a minute the free pages between what is kept are given back too.

/// Buffers from this size on come from the system. A size that is set also keeps the allocator from raising it with each
/// buffer that is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 64 << 10;

/// Settings for the whole process, to be made before it has threads.
pub fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes two numbers, and touches only the allocator's own settings, under its lock. Where it does not know
    // them it changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives the free pages of the heap back to the system. It takes about a millisecond for 20 MB.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: touches free memory only, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
