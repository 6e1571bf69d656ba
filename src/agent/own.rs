//! What the agent says of itself: `process_*`, as the convention is, and its build.

use std::path::Path;

use crate::collect::{CollectError, Collector, KernelFile, fields, number};
use crate::model::Writer;

/// Reads `/proc/self/{stat,limits,fd}`: the agent's own, whatever `--path.procfs` says.
///
/// `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`,
/// `process_start_time_seconds`, `process_open_fds`, `process_max_fds`, `process_threads`, and
/// `watchfire_build_info{version}`.
pub struct Own {
    stat: KernelFile,
    boot_time: Option<f64>,
    ticks_per_second: f64,
    page_size: f64,
}

impl Default for Own {
    fn default() -> Self {
        Own {
            stat: KernelFile::new("/proc/self/stat"),
            boot_time: boot_time(),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_size: rustix::param::page_size() as f64,
        }
    }
}

fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

/// Descriptors open now: from Linux 6.2 on the directory's size says it.
fn open_fds() -> Option<f64> {
    let path = Path::new("/proc/self/fd");
    match std::fs::metadata(path).ok()?.len() {
        0 => Some(std::fs::read_dir(path).ok()?.count() as f64 - 1.0),
        n => Some(n as f64),
    }
}

impl Collector for Own {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        out.gauge("watchfire_build_info", "The agent's version; always 1.", ["version"])
            .put([env!("CARGO_PKG_VERSION").as_bytes()], 1.0);

        let path = self.stat.path().to_path_buf();
        let stat = self.stat.read()?;
        // The name may hold spaces and parentheses: fields count from behind the last one.
        let after = stat.iter().rposition(|b| *b == b')').map_or(stat, |i| &stat[i + 1..]);
        let mut wanted = [None; 22];
        for (slot, field) in wanted.iter_mut().zip(fields(after)) {
            *slot = number(field);
        }
        // proc_pid_stat(5), less the two fields before: utime 14, stime 15, num_threads 20, starttime 22, vsize 23, rss 24.
        let [Some(user), Some(system), Some(threads), Some(start), Some(virtual_bytes), Some(resident)] =
            [11, 12, 17, 19, 20, 21].map(|i: usize| wanted[i])
        else {
            return Err(CollectError::parse(&path, 1, "fewer fields than expected"));
        };
        out.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", [])
            .put([], (user + system) / self.ticks_per_second);
        out.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", [])
            .put([], resident * self.page_size);
        out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", []).put([], virtual_bytes);
        if let Some(boot) = self.boot_time {
            out.gauge("process_start_time_seconds", "Start time of the process since the Unix epoch in seconds.", [])
                .put([], boot + start / self.ticks_per_second);
        }
        out.gauge("process_threads", "Number of OS threads in the process.", []).put([], threads);
        if let Some(open) = open_fds() {
            out.gauge("process_open_fds", "Number of open file descriptors.", []).put([], open);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(limit) = limit {
            out.gauge("process_max_fds", "Maximum number of open file descriptors.", []).put([], limit as f64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Labels, SeriesTable};

    #[test]
    fn the_agent_describes_itself() {
        let mut writer = Writer::new("own", Arc::new(SeriesTable::new(Labels::empty())), 100);
        Own::default().collect(&mut writer).unwrap();
        let (section, _) = writer.finish();
        let value = |name: &str| {
            let i = (0..section.layout.len()).find(|i| section.layout.prefix(*i).starts_with(name.as_bytes()))?;
            Some(section.values[i])
        };
        assert!(value("process_resident_memory_bytes ").unwrap() > 1e6);
        assert!(value("process_open_fds ").unwrap() >= 3.0);
        let now = crate::model::Timestamp::now().as_secs_f64();
        let start = value("process_start_time_seconds ").unwrap();
        assert!(start <= now + 1.0 && start > now - 86_400.0, "{start} {now}");
        assert_eq!(value("watchfire_build_info"), Some(1.0));
    }
}
