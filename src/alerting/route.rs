//! The first stage: which routes an alert takes.

use std::sync::Arc;
use std::time::Duration;

use super::config::{GroupBy, RouteConfig};
use super::matcher::{MatchOp, Matcher};
use crate::model::Labels;

/// A node of the routing tree with everything inherited filled in.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its place in the tree, counted from the root down.
    pub id: usize,
    /// The matchers from the root to here, as they stand in group keys: `{}/{severity="page"}`.
    pub key: String,
    pub receiver: String,
    pub group_by: GroupBy,
    /// How long a new group waits for more alerts before its first notification.
    pub group_wait: Duration,
    /// The time between notifications of a group that changes.
    pub group_interval: Duration,
    /// After this time a group that still fires is notified again.
    pub repeat_interval: Duration,
    /// The names of the times in which it tells nothing. Not inherited.
    pub mute: Vec<String>,
    /// The names of the times outside of which it tells nothing; empty: it always tells. Not inherited.
    pub active: Vec<String>,
    matchers: Vec<Matcher>,
    goes_on: bool,
    routes: Vec<Arc<Route>>,
    /// A route that every alert takes too, whatever else it takes.
    beside: Option<Arc<Route>>,
}

/// For a host: what fires alone is told at once.
pub const DEFAULT_GROUP_WAIT: Duration = Duration::ZERO;
pub const DEFAULT_GROUP_INTERVAL: Duration = Duration::from_secs(5 * 60);
pub const DEFAULT_REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3600);

/// Who is forwarded alerts groups them anew, and should not get them late: a group is looked at for it so often at least.
const RESENDING_GROUP_INTERVAL: Duration = Duration::from_secs(5);

impl Route {
    /// The tree below a root route.
    pub fn root(config: &RouteConfig) -> Arc<Route> {
        let above = Route {
            id: 0,
            key: String::new(),
            receiver: String::new(),
            group_by: GroupBy::default(),
            group_wait: DEFAULT_GROUP_WAIT,
            group_interval: DEFAULT_GROUP_INTERVAL,
            repeat_interval: DEFAULT_REPEAT_INTERVAL,
            mute: Vec::new(),
            active: Vec::new(),
            matchers: Vec::new(),
            goes_on: false,
            routes: Vec::new(),
            beside: None,
        };
        let mut root = above.child(config);
        // The root has nothing above it.
        root.key = root.key.trim_start_matches('/').to_string();
        let mut next_id = 1;
        root.grow(config, &mut next_id);
        Arc::new(root)
    }

    /// Adds the routes below.
    fn grow(&mut self, config: &RouteConfig, next_id: &mut usize) {
        for below in &config.routes.0 {
            let mut child = self.child(below);
            child.id = *next_id;
            *next_id += 1;
            child.grow(below, next_id);
            self.routes.push(Arc::new(child));
        }
    }

    /// A route below this one, as yet without those below it.
    fn child(&self, config: &RouteConfig) -> Route {
        let equal = config.equal.iter().map(|(name, value)| Matcher::new(name, MatchOp::Equal, value));
        // Alertmanager anchors these before it makes matchers of them, and so they stand in its group keys.
        let regex = config
            .regex
            .iter()
            .map(|(name, pattern)| Matcher::new(name, MatchOp::Regex, &format!("^(?:{})$", pattern.as_str())));
        let mut matchers: Vec<Matcher> = equal.chain(regex).flatten().chain(config.matchers.0.clone()).collect();
        matchers.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
        let text: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        Route {
            id: 0,
            key: format!("{}/{{{}}}", self.key, text.join(",")),
            receiver: config.receiver.clone().unwrap_or_else(|| self.receiver.clone()),
            // An empty list says nothing, as in Alertmanager.
            group_by: match &config.group_by {
                Some(group_by) if *group_by != GroupBy::default() => group_by.clone(),
                _ => self.group_by.clone(),
            },
            group_wait: config.group_wait.unwrap_or(self.group_wait),
            group_interval: config.group_interval.unwrap_or(self.group_interval),
            repeat_interval: config.repeat_interval.unwrap_or(self.repeat_interval),
            mute: config.mute_time_intervals.clone(),
            active: config.active_time_intervals.clone(),
            matchers,
            goes_on: config.goes_on,
            routes: Vec::new(),
            beside: None,
        }
    }

    /// The routes that an alert takes: the deepest that match, the first of each level unless it says `continue`.
    pub fn dispatch(self: &Arc<Self>, labels: &Labels) -> Vec<Arc<Route>> {
        if !self.matchers.iter().all(|m| m.matches(labels.get(&m.name))) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for route in &self.routes {
            let below = route.dispatch(labels);
            let found = !below.is_empty();
            taken.extend(below);
            if found && !route.goes_on {
                break;
            }
        }
        if taken.is_empty() {
            taken.push(Arc::clone(self));
        }
        taken.extend(self.beside.clone());
        taken
    }

    /// The tree with a route beside it that every alert takes too.
    pub fn beside(mut self: Arc<Self>, beside: Option<Arc<Route>>) -> Arc<Route> {
        Arc::make_mut(&mut self).beside = beside.map(|mut route| {
            let route_beside = Arc::make_mut(&mut route);
            (route_beside.id, route_beside.key) = (usize::MAX, "{beside}".to_string());
            route
        });
        self
    }

    /// The tree with changes told soon on routes to receivers that have something told again and again: `resend` says how
    /// often.
    pub fn hastened(mut self: Arc<Self>, resend: &dyn Fn(&str) -> Option<Duration>) -> Arc<Route> {
        let route = Arc::make_mut(&mut self);
        if let Some(resend) = resend(&route.receiver) {
            route.group_interval = route.group_interval.min(RESENDING_GROUP_INTERVAL).min(resend);
        }
        for below in route.routes.iter_mut().chain(&mut route.beside) {
            *below = Arc::clone(below).hastened(resend);
        }
        self
    }

    /// The labels by which this route groups an alert.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.only(|name| names.iter().any(|n| n == name)),
        }
    }

    /// The key of a group of this route, as Alertmanager writes it.
    pub fn group_key(&self, group_labels: &Labels) -> String {
        format!("{}:{group_labels}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Document, Faults};

    fn tree(text: &str) -> Arc<Route> {
        let mut faults = Faults::default();
        let config: RouteConfig = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
        assert!(faults.is_empty(), "{faults}");
        Route::root(&config)
    }

    const TREE: &str = r#"
receiver: default
group_by: [alertname]
group_wait: 10s
routes:
  - receiver: db
    match: {team: db}
    continue: true
    routes:
      - receiver: db-page
        matchers: [severity="page"]
        group_wait: 1s
  - match_re: {team: db|web}
    matchers: ['env!=test']
    receiver: both
    group_by: ['...']
  - receiver: web
    matchers: [team="web"]
"#;

    fn taken(root: &Arc<Route>, labels: &[(&str, &str)]) -> Vec<String> {
        root.dispatch(&Labels::from_pairs(labels.iter().copied())).iter().map(|r| r.receiver.clone()).collect()
    }

    #[test]
    fn an_alert_takes_the_deepest_routes_that_match_and_goes_on_where_told() {
        let root = tree(TREE);
        assert_eq!(taken(&root, &[("team", "db"), ("severity", "page")]), ["db-page", "both"]);
        assert_eq!(taken(&root, &[("team", "db")]), ["db", "both"]);
        assert_eq!(taken(&root, &[("team", "web")]), ["both"]);
        assert_eq!(taken(&root, &[("team", "web"), ("env", "test")]), ["web"]);
        assert_eq!(taken(&root, &[("team", "x")]), ["default"]);
    }

    #[test]
    fn what_a_route_does_not_say_it_inherits() {
        let root = tree(TREE);
        let page = root.dispatch(&Labels::from_pairs([("team", "db"), ("severity", "page")])).remove(0);
        assert_eq!((page.group_wait, page.group_interval), (Duration::from_secs(1), DEFAULT_GROUP_INTERVAL));
        assert_eq!(page.group_by, GroupBy::Labels(vec!["alertname".to_string()]));
        let root = tree("{receiver: a, group_by: [x], routes: [{matchers: [t=a], group_by: []}]}");
        let below = root.dispatch(&Labels::from_pairs([("t", "a")])).remove(0);
        assert_eq!(below.group_by, GroupBy::Labels(vec!["x".to_string()]));
    }

    #[test]
    fn what_is_forwarded_takes_its_route_too_and_is_looked_at_often() {
        let beside = tree("receiver: central\ngroup_by: [alertname]\n");
        let resend = |receiver: &str| match receiver {
            "central" => Some(Duration::from_secs(60)),
            "web" => Some(Duration::from_secs(1)),
            _ => None,
        };
        let root = tree(TREE).beside(Some(beside)).hastened(&resend);
        assert_eq!(taken(&root, &[("team", "db")]), ["db", "both", "central"]);
        assert_eq!(taken(&root, &[("team", "x")]), ["default", "central"]);
        let routes = root.dispatch(&Labels::from_pairs([("team", "web"), ("env", "test")]));
        let intervals: Vec<u64> = routes.iter().map(|route| route.group_interval.as_secs()).collect();
        assert_eq!(intervals, [1, 5]);
        let alone = root.dispatch(&Labels::from_pairs([("team", "x")])).remove(0);
        assert_eq!(alone.group_interval, DEFAULT_GROUP_INTERVAL);
        assert_eq!(routes[1].group_key(&Labels::empty()), "{beside}:{}");
    }

    #[test]
    fn group_keys_are_alertmanagers() {
        let root = tree(TREE);
        let labels = Labels::from_pairs([("alertname", "X"), ("team", "db"), ("severity", "page")]);
        let keys: Vec<String> = root.dispatch(&labels).iter().map(|r| r.group_key(&r.group_labels(&labels))).collect();
        assert_eq!(
            keys,
            [
                r#"{}/{team="db"}/{severity="page"}:{alertname="X"}"#,
                r#"{}/{env!="test",team=~"^(?:db|web)$"}:{alertname="X", severity="page", team="db"}"#,
            ]
        );
        let other = Labels::from_pairs([("x", "y")]);
        let route = root.dispatch(&other).remove(0);
        assert_eq!(route.group_key(&route.group_labels(&other)), "{}:{}");
    }
}
