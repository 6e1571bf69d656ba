//! `format: exit`: only how the command ends counts. 0 is ok, everything else critical.

use super::{Given, by_code, first_line};
use crate::checks::verdict::Verdict;

pub fn read(given: &Given<'_>) -> Verdict {
    by_code(given, || match first_line(given.stdout) {
        line if line.is_empty() => "exited with code 0".to_string(),
        line => line,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use super::super::{Format, Given};
    use crate::checks::verdict::{State, Verdict};

    fn said(code: i32, stdout: &str, stderr: &str) -> Verdict {
        let given = Given { stdout: stdout.as_bytes(), stderr: stderr.as_bytes(), truncated: false, code };
        let (verdict, samples) = read(&Format::Exit, given);
        assert!(samples.is_empty());
        verdict
    }

    #[test]
    fn zero_is_ok_and_everything_else_is_critical() {
        assert_eq!(said(0, "", ""), Verdict::ok("exited with code 0"));
        assert_eq!(said(0, "\nall there\nmore", "a warning"), Verdict::ok("all there"));
        assert_eq!(said(1, "", ""), Verdict::critical("exited with code 1"));
        assert_eq!(said(3, "out", "no such host"), Verdict::critical("exited with code 3: no such host"));
        assert_eq!(said(3, "out", "").state, State::Critical);
    }
}
