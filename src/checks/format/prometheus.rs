//! `format: prometheus`: the text exposition format on standard output, as a textfile has it.
//!
//! Exit code 0 is ok, others are critical; the metrics are served either way. Text that is not well-formed, or has
//! timestamps, is unknown and gives none: the summary names the line.

use super::{Given, by_code, counted};
use crate::checks::families::Families;
use crate::checks::verdict::Verdict;
use crate::exposition::parse::parse;

pub fn read(given: &Given<'_>, out: &mut Families) -> Verdict {
    let families = match parse(given.stdout) {
        Ok(families) => families,
        // A command that has failed says itself why there is nothing to read.
        Err(_) if given.code != 0 => return by_code(given, String::new),
        Err(error) => return Verdict::unknown(format!("standard output, {error}")),
    };
    let mut samples = families.iter().flat_map(|family| &family.samples);
    if let Some(sample) = samples.find(|sample| sample.timestamp.is_some()) {
        let line = sample.line;
        return Verdict::unknown(format!("standard output, line {line}: timestamps are not supported in checks"));
    }
    families.iter().for_each(|family| out.add_family(family));
    by_code(given, || counted(families.iter().map(|family| family.samples.len()).sum()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{read_text, sample};
    use super::super::{Format, Given};
    use super::*;
    use crate::checks::verdict::State;
    use crate::fuzz::Fuzz;
    use crate::model::Labels;

    const PAGE: &str = "# HELP jobs Jobs by state.\n# TYPE jobs gauge\njobs{state=\"waiting\"} 3\njobs{state=\"done\"} 5\n\
                        # TYPE took histogram\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 2\ntook_sum 0.5\ntook_count 2\n\
                        plain 1\n";

    #[test]
    fn families_are_taken_over_as_they_are_and_get_the_checks_labels() {
        let (verdict, samples) = read_text(&Format::Prometheus, 0, PAGE);
        assert_eq!(verdict, Verdict::ok("7 samples"));
        let expected = [
            sample("jobs", "state=\"waiting\"", "3"),
            sample("jobs", "state=\"done\"", "5"),
            sample("took_bucket", "le=\"1\"", "2"),
            sample("took_bucket", "le=\"+Inf\"", "2"),
            sample("took_sum", "", "0.5"),
            sample("took_count", "", "2"),
            sample("plain", "", "1"),
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_command_that_fails_is_critical_and_what_it_wrote_is_served() {
        let (verdict, samples) = read_text(&Format::Prometheus, 1, "a 1\n");
        assert_eq!((verdict, samples.len()), (Verdict::critical("exited with code 1: a 1"), 1));
        let given = Given { stdout: b"oops", stderr: b"cannot log in\n", truncated: false, code: 2 };
        assert_eq!(
            super::super::testing::read(&Format::Prometheus, given),
            (Verdict::critical("exited with code 2: cannot log in"), Vec::new())
        );
    }

    #[test]
    fn text_that_is_not_well_formed_is_unknown_and_the_line_is_named() {
        let said = |text: &str| {
            let (verdict, samples) = read_text(&Format::Prometheus, 0, text);
            assert!(verdict.state == State::Unknown && samples.is_empty());
            verdict.summary
        };
        let fault = said("a 1\nb x\n");
        assert_eq!(fault, "standard output, line 2, column 3: expected a number as the value, found \"x\"");
        assert_eq!(said("a 1\nb 2 1700000000000\n"), "standard output, line 2: timestamps are not supported in checks");
        assert!(said("a 1").contains("line 1"), "it may be cut off");
        assert_eq!(read_text(&Format::Prometheus, 0, "").0, Verdict::ok("0 samples"));
    }

    #[test]
    fn no_output_makes_it_panic() {
        Fuzz::of(&[PAGE]).bytes(|stdout| {
            let mut families = Families::new(std::sync::Arc::new(Labels::from_pairs([("check", "c")])));
            read(&Given { stdout, stderr: b"", truncated: false, code: 0 }, &mut families);
        });
    }
}
