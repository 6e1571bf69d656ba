//! `/metrics?collect[]=cpu&collect[]=meminfo` and `?exclude[]=netdev`: a part of the collectors, as node_exporter takes it.

use crate::model::Labels;

/// The section with the agent's own instruments: on every page, as node_exporter's own are.
const OWN: &str = "agent";
/// The section with the outcome of every collector's run, by the label `collector`.
const OUTCOMES: &str = "scrape";

/// Which collectors a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Selection {
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl Selection {
    /// From the request's query; the error says what is wrong with it.
    pub fn parse(query: Option<&str>) -> Result<Selection, &'static str> {
        let (mut only, mut without) = (Vec::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "collect[]" => only.push(value.into_owned()),
                "exclude[]" => without.push(value.into_owned()),
                _ => {}
            }
        }
        for names in [&mut only, &mut without] {
            names.sort_unstable();
            names.dedup();
        }
        match (only.is_empty(), without.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, true) => Ok(Selection::Only(only)),
            (true, false) => Ok(Selection::Without(without)),
            (false, false) => Err("collect[] and exclude[] cannot be combined.\n"),
        }
    }

    /// The first collector that is asked for and not known.
    pub fn unknown(&self, is_known: impl Fn(&str) -> bool) -> Option<&str> {
        match self {
            Selection::Only(names) => names.iter().map(String::as_str).find(|name| !is_known(name)),
            _ => None,
        }
    }

    /// Whether a sample of this section is asked for.
    pub fn wants(&self, section: &str, labels: &Labels) -> bool {
        let collector = if section == OUTCOMES { labels.get("collector") } else { section };
        match self {
            _ if section == OWN => true,
            Selection::All => true,
            Selection::Only(names) => names.iter().any(|n| n == collector),
            Selection::Without(names) => !names.iter().any(|n| n == collector),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn a_query_names_collectors_to_take_or_to_leave_out() {
        let parse = |query| Selection::parse(Some(query));
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(Selection::parse(None), Ok(Selection::All));
        assert_eq!(parse("x=1&collect=cpu"), Ok(Selection::All));
        assert_eq!(parse("collect[]=cpu&collect%5B%5D=arp&collect[]=cpu"), Ok(Selection::Only(names(&["arp", "cpu"]))));
        assert_eq!(parse("exclude[]=a+b%00"), Ok(Selection::Without(names(&["a b\0"]))));
        assert!(parse("collect[]=cpu&exclude[]=arp").is_err());
    }

    #[test]
    fn the_outcome_of_a_collector_goes_with_it_and_the_agents_own_samples_are_always_there() {
        let labels = |collector| Labels::from_pairs([("collector", collector)]);
        let only = Selection::Only(vec!["cpu".into()]);
        assert!(only.wants("cpu", &Labels::empty()) && !only.wants("arp", &Labels::empty()));
        assert!(only.wants("scrape", &labels("cpu")) && !only.wants("scrape", &labels("arp")));
        assert!(only.wants("agent", &Labels::empty()) && !only.wants("usage", &Labels::empty()));
        let without = Selection::Without(vec!["cpu".into()]);
        assert!(!without.wants("cpu", &Labels::empty()) && without.wants("usage", &Labels::empty()));
        assert!(!without.wants("scrape", &labels("cpu")) && without.wants("scrape", &labels("arp")));
        assert_eq!(only.unknown(|n| n == "cpu"), None);
        assert_eq!(only.unknown(|_| false), Some("cpu"));
    }

    #[test]
    fn no_query_makes_it_panic() {
        Fuzz::of(&["collect[]=cpu&collect%5B%5D=arp", "exclude[]=a+b%00"]).texts(|query| {
            let _ = Selection::parse(Some(query));
        });
    }
}
