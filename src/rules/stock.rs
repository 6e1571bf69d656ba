//! The rules that Watchfire brings along.

use super::file::read_file;
use super::spec::GroupSpec;
use crate::yaml::Faults;

/// The stock rules as a rule file.
pub const STOCK_RULES: &str = include_str!("stock.yaml");

/// The rules that belong to a heartbeat, as a rule file.
pub const WATCHDOG_RULES: &str = include_str!("watchdog.yaml");

/// The name that stands for the file of the stock rules.
pub const STOCK_FILE: &str = "stock";

/// The groups of the stock rules. What is wrong with them would be added to `faults`; the tests show that nothing is.
pub fn stock_groups(faults: &mut Faults) -> Vec<GroupSpec> {
    read_file(STOCK_FILE, STOCK_RULES, faults)
}

/// The groups of the rules that belong to a heartbeat; as [`stock_groups`].
pub fn watchdog_groups(faults: &mut Faults) -> Vec<GroupSpec> {
    read_file(STOCK_FILE, WATCHDOG_RULES, faults)
}
