//! Which rules are replayed: those of files, of the command line, of a configuration, the stock rules.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use crate::cli::client::{pointed, span};
use crate::config::{Config, ConfigFile};
use crate::model::format_duration;
use crate::promql::Query;
use crate::rules::{GroupSpec, read_file, stock_groups};
use crate::yaml::{Faults, Position, Source, read_text};

/// The name that stands for the file of rules on the command line.
const COMMAND_LINE: &str = "--expr";

#[derive(Args, Debug)]
pub struct Sources {
    /// Rule files in Prometheus' format.
    #[arg(value_name = "RULES")]
    files: Vec<PathBuf>,
    /// A rule that stands here: an alert for each result of the expression; may be repeated, to try thresholds.
    #[arg(long, value_name = "EXPR")]
    expr: Vec<String>,
    /// How long such a result must be there before its alert fires.
    #[arg(long = "for", value_name = "DURATION", value_parser = span, requires = "expr")]
    hold: Option<Duration>,
    /// How long such an alert fires on after its result is gone.
    #[arg(long = "keep-firing-for", value_name = "DURATION", value_parser = span, requires = "expr")]
    keep_firing: Option<Duration>,
    /// The stock rules.
    #[arg(long)]
    stock: bool,
    /// A configuration of the agent: its evaluation interval, offset, lookback and external labels hold, and where no other
    /// rules are named, all of its own are replayed.
    #[arg(long = "config.file", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The rules, and the configuration that holds for them.
pub struct Loaded {
    pub groups: Vec<GroupSpec>,
    pub config: Option<ConfigFile>,
}

impl Sources {
    /// The error is all that is wrong with any of them.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let named = !self.files.is_empty() || !self.expr.is_empty() || self.stock;
        if !named && self.config.is_none() {
            return Err(Failure::invalid(
                "watchfire: no rules are named: give rule files, --expr EXPR, --stock or --config.file FILE",
            ));
        }
        let config = self.config.as_deref().map(|path| Config::load(Some(path), |_| {})).transpose();
        let config = config.map_err(|faults| Failure::invalid(faults.to_string()))?;
        let mut faults = Faults::default();
        let mut groups = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            match read_text(path) {
                Ok(text) => groups.extend(read_file(&name, &text, &mut faults)),
                Err(error) => {
                    faults.enter(Arc::new(Source::new(name, "")));
                    faults.error(Position::default(), format!("cannot read the rule file: {error}"));
                }
            }
        }
        if self.stock {
            groups.extend(stock_groups(&mut faults));
        }
        let own = self.expr.iter().map(|expr| self.rule(expr)).collect::<Result<Vec<_>, _>>()?;
        if !own.is_empty() {
            let rules = json!({"groups": [{"name": COMMAND_LINE, "rules": own}]}).to_string();
            groups.extend(read_file(COMMAND_LINE, &rules, &mut faults));
        }
        if faults.has_errors() {
            return Err(Failure::invalid(faults.to_string()));
        }
        eprint!("{faults}");
        let (file, rules) = config.map(|config| (config.file, config.rules)).unzip();
        if !named {
            groups = rules.unwrap_or_default();
        }
        if groups.iter().all(|group| group.rules.is_empty()) {
            return Err(Failure::invalid("watchfire: there is no rule in what is named"));
        }
        Ok(Loaded { groups, config: file })
    }

    /// A rule of the command line, as it would stand in a file.
    fn rule(&self, expr: &str) -> Result<serde_json::Value, Failure> {
        if let Err(error) = Query::parse(expr) {
            let (line, column) = error.position.unwrap_or((0, 0));
            return Err(Failure::invalid(format!("watchfire: {}{}", error.message, pointed(expr, line, column))));
        }
        let name = expr.split_whitespace().collect::<Vec<_>>().join(" ");
        let hold = format_duration(self.hold.unwrap_or_default());
        let keep_firing = format_duration(self.keep_firing.unwrap_or_default());
        Ok(json!({"alert": name, "expr": expr, "for": hold, "keep_firing_for": keep_firing}))
    }
}
