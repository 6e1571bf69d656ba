//! The kernel's clock discipline: how far the clock is off, and whether anything keeps it right.
//!
//! Reads nothing from files: adjtimex(2), without changing anything. It speaks of the running kernel only, so a captured
//! tree has no data.
//!
//! | metric | unit |
//! | --- | --- |
//! | `node_timex_offset_seconds`, `node_timex_maxerror_seconds`, `node_timex_estimated_error_seconds` | seconds |
//! | `node_timex_frequency_adjustment_ratio` | 1 is the clock's own frequency |
//! | `node_timex_sync_status` | 1 when synchronised |
//! | `node_timex_status` | the kernel's status bits |
//! | `node_timex_loop_time_constant`, `node_timex_tick_seconds`, `node_timex_tai_offset_seconds` | |
//! | `node_timex_pps_*` | of a pulse-per-second source |

use std::mem::MaybeUninit;

use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.timex` has no options.
    pub struct TimexConfig {}
}

/// Frequencies are in parts per million with 16 bits behind the point.
const SCALED_PPM: f64 = 65536.0 * 1e6;
/// The return value of adjtimex(2) while the clock is not synchronised.
const TIME_ERROR: i32 = 5;

pub struct Timex {
    live: bool,
}

impl Timex {
    pub fn new(_: &TimexConfig, roots: &Roots) -> Timex {
        Timex { live: roots.is_live() }
    }
}

/// The clock's state, and the kernel's discipline of it.
fn read() -> std::io::Result<(i32, libc::timex)> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the structure is writable, large enough and zeroed: with `modes` 0 the call only fills it in. All of its
    // fields are integers, for which any bits are valid.
    unsafe {
        let state = libc::adjtimex(timex.as_mut_ptr());
        if state < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok((state, timex.assume_init()))
    }
}

impl Collector for Timex {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        if !self.live {
            return Err(CollectError::NoData("the clock of a captured tree is not known".to_string()));
        }
        let (state, t) = read().map_err(|e| match e.kind() {
            std::io::ErrorKind::PermissionDenied => CollectError::NoData(format!("adjtimex: {e}")),
            _ => CollectError::Other(format!("adjtimex: {e}")),
        })?;
        let unit = if t.status & libc::STA_NANO != 0 { 1e9 } else { 1e6 };
        let synchronised = if state == TIME_ERROR { 0.0 } else { 1.0 };
        use MetricType::{Counter, Gauge};
        let samples = [
            (
                "node_timex_offset_seconds",
                Gauge,
                "Time offset in between local system and reference clock.",
                t.offset as f64 / unit,
            ),
            (
                "node_timex_frequency_adjustment_ratio",
                Gauge,
                "Local clock frequency adjustment.",
                1.0 + t.freq as f64 / SCALED_PPM,
            ),
            ("node_timex_maxerror_seconds", Gauge, "Maximum error in seconds.", t.maxerror as f64 / 1e6),
            ("node_timex_estimated_error_seconds", Gauge, "Estimated error in seconds.", t.esterror as f64 / 1e6),
            ("node_timex_status", Gauge, "Value of the status array bits.", f64::from(t.status)),
            ("node_timex_loop_time_constant", Gauge, "Phase-locked loop time constant.", t.constant as f64),
            ("node_timex_tick_seconds", Gauge, "Seconds between clock ticks.", t.tick as f64 / 1e6),
            ("node_timex_pps_frequency_hertz", Gauge, "Pulse per second frequency.", t.ppsfreq as f64 / SCALED_PPM),
            ("node_timex_pps_jitter_seconds", Gauge, "Pulse per second jitter.", t.jitter as f64 / unit),
            ("node_timex_pps_shift_seconds", Gauge, "Pulse per second interval duration.", f64::from(t.shift)),
            (
                "node_timex_pps_stability_hertz",
                Gauge,
                "Pulse per second stability, average of recent frequency changes.",
                t.stabil as f64 / SCALED_PPM,
            ),
            (
                "node_timex_pps_jitter_total",
                Counter,
                "Pulse per second count of jitter limit exceeded events.",
                t.jitcnt as f64,
            ),
            (
                "node_timex_pps_calibration_total",
                Counter,
                "Pulse per second count of calibration intervals.",
                t.calcnt as f64,
            ),
            ("node_timex_pps_error_total", Counter, "Pulse per second count of calibration errors.", t.errcnt as f64),
            (
                "node_timex_pps_stability_exceeded_total",
                Counter,
                "Pulse per second count of stability limit exceeded events.",
                t.stbcnt as f64,
            ),
            ("node_timex_tai_offset_seconds", Gauge, "International Atomic Time (TAI) offset.", f64::from(t.tai)),
            (
                "node_timex_sync_status",
                Gauge,
                "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
                synchronised,
            ),
        ];
        for (name, kind, help, value) in samples {
            out.family(kind, name, help, []).put([], value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Labels, SeriesTable};

    fn run(roots: &Roots) -> (Result<(), CollectError>, Vec<(String, f64)>) {
        let mut writer = Writer::new("timex", Arc::new(SeriesTable::new(Labels::empty())), 100);
        let result = Timex::new(&TimexConfig::default(), roots).collect(&mut writer);
        let (section, _) = writer.finish();
        let names = section.layout.series().iter().flatten().map(|s| s.labels.metric_name().to_string());
        (result, names.zip(section.values.iter().copied()).collect())
    }

    #[test]
    fn the_running_kernel_tells_of_its_clock() {
        let (result, samples) = run(&Roots::default());
        if let Err(error) = result {
            assert!(matches!(error, CollectError::NoData(_)), "{error}");
            eprintln!("skipped: {error}");
            return;
        }
        assert_eq!(samples.len(), 17);
        let value = |name: &str| samples.iter().find(|(n, _)| n == name).map(|(_, v)| *v).unwrap();
        assert!((0.0001..=0.02).contains(&value("node_timex_tick_seconds")));
        assert!((0.99..=1.01).contains(&value("node_timex_frequency_adjustment_ratio")));
        assert!([0.0, 1.0].contains(&value("node_timex_sync_status")));
    }

    #[test]
    fn a_captured_tree_has_no_clock() {
        let (result, samples) = run(&Roots { procfs: "/nowhere".into(), ..Roots::default() });
        assert!(matches!(result, Err(CollectError::NoData(_))) && samples.is_empty());
    }
}
