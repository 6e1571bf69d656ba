//! Random expressions whose types are right, mostly.

use super::data::END;
use super::random::Random;

/// Functions that libm and Go do not compute to the same last bit: nothing is computed from their results.
const ROUGH: &[&str] = &[
    "exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh",
];

const EXACT: &[&str] =
    &["abs", "ceil", "floor", "sgn", "sqrt", "deg", "rad", "round", "timestamp", "sort", "sort_desc"];

const DATES: &[&str] =
    &["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];

const OVER_RANGE: &[&str] = &[
    "rate",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "mad_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "absent_over_time",
    "integral",
];

const AGGREGATIONS: &[&str] = &["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

const LABELS: &[&str] = &[
    "instance",
    "instance",
    "instance",
    "job",
    "job",
    "code",
    "mode",
    "le",
    "x",
    "\"étage\"",
    "version",
    "none",
    "__name__",
];

const NUMBERS: &[&str] = &[
    "0", "1", "2", "-1", "0.5", "3.7", "1e3", "Inf", "-Inf", "NaN", "0x1F", "1_000", "5m", "017", "-0", "1e300", "0.1",
    "100",
];

pub struct Generator<'r> {
    random: &'r mut Random,
}

impl Generator<'_> {
    pub fn new(random: &mut Random) -> Generator<'_> {
        Generator { random }
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.random.one_in(n)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.random.pick(from)
    }

    pub fn expression(&mut self) -> String {
        match self.random.below(40) {
            0 => self.scalar(3),
            1 => self.matrix(2),
            2 => "\"a\\n\\u00e9\"".into(),
            3..8 => {
                let function = self.pick(ROUGH);
                format!("{function}({})", self.vector(2))
            }
            8 => format!("{} ^ {}", self.vector(1), self.vector_or_scalar(1)),
            9 => format!("{} atan2 {}", self.vector(1), self.vector_or_scalar(1)),
            _ => self.vector(4),
        }
    }

    fn number(&mut self) -> String {
        if self.one_in(3) { format!("{:.3}", self.random.unit() * 100.0) } else { self.pick(NUMBERS).into() }
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.number();
        }
        match self.random.below(10) {
            0 => format!("scalar({})", self.vector(depth - 1)),
            1 => "time()".into(),
            2 => "pi()".into(),
            3 => self.pick(&["start()", "end()", "step()", "range()"]).into(),
            4 => {
                format!("{}({}, {})", self.pick(&["max_of", "min_of"]), self.scalar(depth - 1), self.scalar(depth - 1))
            }
            5 => format!("({} {} {})", self.scalar(depth - 1), self.arithmetic(), self.scalar(depth - 1)),
            6 => format!("{} {} bool {}", self.scalar(depth - 1), self.comparison(), self.scalar(depth - 1)),
            7 => format!("-{}", self.scalar(depth - 1)),
            _ => self.number(),
        }
    }

    fn arithmetic(&mut self) -> &'static str {
        self.pick(&["+", "-", "*", "/", "%"])
    }

    fn comparison(&mut self) -> &'static str {
        self.pick(&["==", "!=", ">", "<", ">=", "<="])
    }

    fn duration(&mut self) -> String {
        if self.one_in(12) {
            return self
                .pick(&[
                    "(1m + 30s)",
                    "2 * 1m",
                    "5m - 1m",
                    "max_of(1m, 90s)",
                    "step() + 1m",
                    "(range() + 1m) / 2",
                    "2 ^ 6",
                ])
                .into();
        }
        self.pick(&["1s", "10s", "29s", "30s", "1m", "90s", "5m", "10m", "1h", "60", "15s500ms", "47.3"]).into()
    }

    fn modifiers(&mut self) -> String {
        let mut out = String::new();
        if self.one_in(8) {
            let at = format!("{:.3}", (END as f64 * self.random.unit()) / 1000.0);
            let at = [at.as_str(), "start()", "end()", "-60"][self.random.below(4)].to_string();
            out = format!(" @ {at}");
        }
        if self.one_in(6) {
            let offset = self.pick(&[
                "1m",
                "-1m",
                "5m",
                "17",
                "-30s",
                "(1m + 1s)",
                "-(1m - 1s)",
                "step()",
                "1h",
                "0s",
                "-step()",
                "max_of(1m, step())",
            ]);
            out += &format!(" offset {offset}");
        }
        out
    }

    fn bare_selector(&mut self) -> String {
        self.pick(&[
            "requests_total",
            "requests_total{code=\"200\"}",
            "requests_total{code!~\"5.*\",instance=~\"a.*|b.*\"}",
            "cpu_seconds_total",
            "cpu_seconds_total{mode=\"idle\"}",
            "memory_bytes",
            "memory_bytes{instance!=\"a:9100\"}",
            "temperature",
            "load",
            "flag",
            "latency_bucket",
            "latency_bucket{le=\"+Inf\"}",
            "target_info",
            "build_info",
            "size_bytes",
            "{\"größe.bytes\"}",
            "{\"größe.bytes\",\"étage\"='2'}",
            "rare",
            "dates",
            "nothing{a=\"b\",c=\"d\"}",
            "{__name__=~\"load|flag\"}",
            "{instance=\"a:9100\",__name__!~\".*_.*\"}",
            "temperature{job=`web`}",
        ])
        .into()
    }

    fn matrix(&mut self, depth: usize) -> String {
        if depth > 0 && self.one_in(3) {
            let inner = self.vector(depth - 1);
            let inner = if self.one_in(2) { inner } else { format!("({inner})") };
            let step = if self.one_in(3) { String::new() } else { self.pick(&["10s", "15s", "1m", "7s", "90"]).into() };
            let range = self.pick(&["1m", "2m", "5m", "100s"]);
            return format!("{inner}[{range}:{step}]{}", self.modifiers());
        }
        format!("{}[{}]{}", self.bare_selector(), self.duration(), self.modifiers())
    }

    fn vector_or_scalar(&mut self, depth: usize) -> String {
        if self.one_in(2) { self.scalar(depth) } else { self.vector(depth) }
    }

    fn labels(&mut self) -> String {
        let n = self.random.below(4);
        (0..n).map(|_| self.pick(LABELS)).collect::<Vec<_>>().join(", ")
    }

    fn grouping(&mut self) -> String {
        match self.random.below(3) {
            0 => String::new(),
            1 => format!(" by ({}) ", self.labels()),
            _ => format!(" without ({}) ", self.labels()),
        }
    }

    pub fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return format!("{}{}", self.bare_selector(), self.modifiers());
        }
        let depth = depth - 1;
        match self.random.below(24) {
            0..5 => self.over_range(depth),
            5..8 => format!("{}{}({})", self.pick(AGGREGATIONS), self.grouping(), self.vector(depth)),
            8 => self.parameter_aggregation(depth),
            9..13 => self.binary(depth),
            13 => format!("-{}", self.vector(depth)),
            14 => {
                let function = self.pick(EXACT);
                format!("{function}({})", self.vector(depth))
            }
            15 => self.labels_function(depth),
            16 => self.histogram(depth),
            17 => match self.random.below(6) {
                0 => format!("clamp({}, {}, {})", self.vector(depth), self.scalar(1), self.scalar(1)),
                1 => format!("clamp_min({}, {})", self.vector(depth), self.scalar(1)),
                2 => format!("clamp_max({}, {})", self.vector(depth), self.scalar(1)),
                3 => format!("round({}, {})", self.vector(depth), self.pick(&["0.1", "5", "0.25", "-1", "0"])),
                4 => format!("vector({})", self.scalar(depth)),
                _ => format!("absent({})", self.vector(depth)),
            },
            18 => {
                let function = self.pick(DATES);
                let argument = match self.random.below(3) {
                    0 => String::new(),
                    1 => format!("dates{}", self.modifiers()),
                    _ => self.vector(depth),
                };
                format!("{function}({argument})")
            }
            19 => {
                let extra = self.pick(&[
                    "",
                    ", {version=~\".+\"}",
                    ", {__name__=~\".+_info\"}",
                    ", {dc=\"x\"}",
                    ", {none=\"y\"}",
                ]);
                format!("info({}{extra})", self.vector(depth))
            }
            20 => format!("({})", self.vector(depth)),
            21 => self.extended(),
            _ => format!("{}{}", self.bare_selector(), self.modifiers()),
        }
    }

    fn over_range(&mut self, depth: usize) -> String {
        match self.random.below(9) {
            0 => format!("quantile_over_time({}, {})", self.quantile(), self.matrix(depth)),
            1 => format!("predict_linear({}, {})", self.matrix(depth), self.scalar(1)),
            2 => format!(
                "double_exponential_smoothing({}, {}, {})",
                self.matrix(depth),
                self.pick(&["0.5", "0.1", "0.99", "1.5"]),
                self.pick(&["0.3", "0.7", "0.01"])
            ),
            3 => format!("integral({}, {})", self.matrix(depth), self.pick(&["0", "1", "2", "3", "0.5"])),
            _ => {
                let function = self.pick(OVER_RANGE);
                format!("{function}({})", self.matrix(depth))
            }
        }
    }

    /// Ranges with the samples beside them.
    fn extended(&mut self) -> String {
        let modifier = self.pick(&["anchored", "smoothed"]);
        let functions: &[&str] = match modifier {
            "anchored" => &["rate", "increase", "delta", "changes", "resets"],
            _ => &["rate", "increase", "delta"],
        };
        let (selector, duration, modifiers) = (self.bare_selector(), self.duration(), self.modifiers());
        match self.random.below(6) {
            0 => format!("{selector} {modifier}{modifiers}"),
            _ => {
                let function = functions[self.random.below(functions.len())];
                format!("{function}({selector}[{duration}] {modifier}{modifiers})")
            }
        }
    }

    fn quantile(&mut self) -> String {
        self.pick(&["0", "0.1", "0.5", "0.9", "0.99", "1", "-0.5", "1.5", "NaN"]).into()
    }

    fn parameter_aggregation(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        let (op, parameter) = match self.random.below(6) {
            0 => ("topk", self.count()),
            1 => ("bottomk", self.count()),
            2 => ("quantile", self.quantile()),
            3 => ("limitk", self.count()),
            4 => ("limit_ratio", self.pick(&["0.5", "-0.5", "0.1", "-0.9", "1", "2", "-3", "0", "NaN"]).into()),
            _ => ("count_values", self.pick(&["\"v\"", "\"instance\"", "\"é.x\"", "\"job\""]).into()),
        };
        format!("{op}{grouping}({parameter}, {})", self.vector(depth))
    }

    /// A constant: where what is chosen from is the same at each step, Prometheus looks at the parameter only once.
    fn count(&mut self) -> String {
        self.pick(&["1", "2", "3", "5", "0", "-1", "NaN", "1e30", "2.9"]).into()
    }

    fn binary(&mut self, depth: usize) -> String {
        if self.one_in(4) {
            let (op, scalar) = (self.operator(), self.scalar(1));
            let bool_modifier = if "==!=>=<=".contains(op) && self.one_in(3) { " bool" } else { "" };
            let vector = self.vector(depth);
            return match self.one_in(2) {
                true => format!("({scalar} {op}{bool_modifier} {vector})"),
                false => format!("({vector} {op}{bool_modifier} {scalar})"),
            };
        }
        let (lhs, rhs) = (self.vector(depth), self.vector(depth));
        if self.one_in(3) {
            let op = self.pick(&["and", "or", "unless"]);
            let matching = self.matching();
            return format!("({lhs} {op}{matching} {rhs})");
        }
        let op = self.operator();
        let mut modifier = if "==!=>=<=".contains(op) && self.one_in(3) { " bool".to_string() } else { String::new() };
        let matching = self.matching();
        if !matching.is_empty() {
            modifier += &matching;
            if self.one_in(2) {
                let side = self.pick(&["group_left", "group_right"]);
                let labels = if self.one_in(2) { String::new() } else { self.labels() };
                modifier += &format!(" {side} ({labels})");
            }
        }
        if self.one_in(6) {
            modifier +=
                self.pick(&[" fill (0)", " fill_left (1)", " fill_right (-2.5)", " fill_left (NaN) fill_right (3)"]);
        }
        // Of the same series on both sides there is more to match.
        if self.one_in(3) {
            let selector = self.bare_selector();
            let other = if self.one_in(2) { self.pick(&[" offset 1m", " @ 1000"]) } else { "" };
            return format!("({selector} {op}{modifier} {selector}{other})");
        }
        format!("({lhs} {op}{modifier} {rhs})")
    }

    fn operator(&mut self) -> &'static str {
        if self.one_in(2) { self.arithmetic() } else { self.comparison() }
    }

    fn matching(&mut self) -> String {
        match self.random.below(4) {
            0 | 1 => String::new(),
            2 => format!(" on ({})", self.labels()),
            _ => format!(" ignoring ({})", self.labels()),
        }
    }

    fn labels_function(&mut self, depth: usize) -> String {
        let vector = self.vector(depth);
        match self.random.below(4) {
            0 => format!("label_join({vector}, \"new\", \"-\", \"instance\", \"job\", \"none\")"),
            1 => {
                let function = self.pick(&["sort_by_label", "sort_by_label_desc"]);
                format!("{function}({vector}, \"instance\")")
            }
            _ => {
                let destination = self.pick(&["new", "instance", "job", "__name__", "é.x"]);
                let replacement = self.pick(&["$1", "x-${1}", "", "$2", "$$1", "a", "${host}:1", "${none", "$1x"]);
                let source = self.pick(&["instance", "job", "none", "__name__"]);
                let pattern = self.pick(&["(.*):.*", "(.*)", "(?P<host>[a-z]+)([0-9]*):.*", "nomatch", "", ".+"]);
                format!("label_replace({vector}, \"{destination}\", \"{replacement}\", \"{source}\", \"{pattern}\")")
            }
        }
    }

    fn histogram(&mut self, depth: usize) -> String {
        let vector = match self.random.below(6) {
            0 => self.vector(depth),
            1 => format!("rate(latency_bucket[{}])", self.duration()),
            2 => format!("sum by (le) (rate(latency_bucket[{}]))", self.duration()),
            3 => format!("sum without (instance) (latency_bucket{})", self.modifiers()),
            _ => format!("latency_bucket{}", self.modifiers()),
        };
        match self.random.below(4) {
            0 => format!("histogram_fraction({}, {}, {vector})", self.scalar(1), self.scalar(1)),
            // With two buckets of one bound Prometheus mixes them up from the second quantile on.
            1 => format!(
                "histogram_quantiles(sum by (le, job) (latency_bucket{{le!=\"1.0\"}}), \"q\", {}, {})",
                self.quantile(),
                self.quantile()
            ),
            _ => format!("histogram_quantile({}, {vector})", self.quantile()),
        }
    }
}
