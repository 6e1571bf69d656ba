use super::super::notification::tests::example;
use super::super::service::tests::{GROUP, drawn, read, resolved};
use super::super::testing::{Answer, Seen, far_side};
use super::*;

const ENTRY: &str = "project: OPS, issue_type: Task, summary: disk full, description: all of it, priority: High, \
     labels: [zone-b, 'a{{ 1 }}'], reopen_transition: Reopen, resolve_transition: Done, reopen_duration: 1h, \
     wont_fix_resolution: \"Won't \\\"Fix\\\"\", fields: {customfield_1: '{{ 7 }}', customfield_2: {value: 3, on: true}, \
     customfield_3: [{name: x}, ~, 1.5]}";

async fn config(answers: Vec<Answer>, more: &str) -> (JiraConfig, Arc<std::sync::Mutex<Vec<Seen>>>) {
    let (address, seen) = far_side(answers).await;
    let (config, faults) =
        read::<JiraConfig>(&format!("{{{ENTRY}{more}}}"), &format!("{{jira_api_url: 'http://{address}/rest/api/2'}}"));
    assert_eq!(faults, "");
    (config, seen)
}

async fn deliver(
    answers: Vec<Answer>,
    more: &str,
    about: &Notification,
) -> (Result<Delivered, DeliveryError>, Vec<Seen>) {
    let (config, seen) = config(answers, more).await;
    let result = JiraSink::new(&config, Arc::default(), Some(drawn(b"PNG"))).deliver(about).await;
    let seen = seen.lock().unwrap().clone();
    (result, seen)
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn steps(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|s| format!("{} {}", s.method, s.path.replace("/rest/api/2", ""))).collect()
}

fn ok(body: &'static str) -> Answer {
    (200, vec![], body)
}

const NONE: &str = r#"{"issues":[]}"#;
const OPEN: &str =
    r#"{"issues":[{"key":"OPS-7","fields":{"status":{"name":"To Do","statusCategory":{"key":"new"}}}}]}"#;
const CLOSED: &str =
    r#"{"issues":[{"key":"OPS-7","fields":{"status":{"name":"Done","statusCategory":{"key":"done"}}}}]}"#;
const TRANSITIONS: &str = r#"{"transitions":[{"id":"11","name":"Done"},{"id":"12","name":"Reopen"}]}"#;

#[tokio::test]
async fn what_fires_makes_an_issue_with_a_chart() {
    let made = (201, vec![], r#"{"id":"1","key":"OPS-7"}"#);
    let (result, seen) = deliver(vec![ok(NONE), made, ok("[]")], "", &example()).await;
    assert_eq!(result.unwrap().answer, "201 Created for OPS-7");
    assert_eq!(steps(&seen), ["POST /search", "POST /issue", "POST /issue/OPS-7/attachments"]);
    let query = format!(
        "resolution != \"Won't \\\"Fix\\\"\" and (resolutiondate is EMPTY OR resolutiondate >= -60m) and project=\"OPS\" \
         and labels=\"ALERT{{{GROUP}}}\" order by status ASC,resolutiondate DESC"
    );
    assert_eq!(body(&seen[0]), json!({"jql": query, "fields": ["status"], "maxResults": 2}));
    assert_eq!(
        body(&seen[1]),
        json!({"fields": {
            "project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "disk full",
            "description": "all of it", "priority": {"name": "High"},
            "labels": [format!("ALERT{{{GROUP}}}"), "a1", "zone-b"],
            "customfield_1": "7", "customfield_2": {"value": 3, "on": true},
            "customfield_3": [{"name": "x"}, null, 1.5],
        }})
    );
    assert_eq!((seen[1].header("content-type"), seen[1].header("accept-language")), ("application/json", "en"));
    assert_eq!((seen[0].header("idempotency-key"), seen[1].header("idempotency-key")), ("", "s-7"));
    assert_eq!(seen[2].header("x-atlassian-token"), "no-check");
    let form = String::from_utf8_lossy(&seen[2].body).to_string();
    assert!(form.contains("name=\"file\"; filename=\"chart.png\"") && form.contains("PNG"), "{form}");
}

#[tokio::test]
async fn a_chart_that_is_refused_or_not_wanted_hinders_nothing() {
    let made = (201, vec![], r#"{"key":"OPS-7"}"#);
    let (result, seen) = deliver(vec![ok(NONE), made.clone(), (403, vec![], "")], "", &example()).await;
    assert_eq!((result.unwrap().answer.as_str(), seen.len()), ("201 Created for OPS-7", 3));
    let (result, seen) = deliver(vec![ok(NONE), made], ", chart: false", &example()).await;
    assert_eq!((result.is_ok(), seen.len()), (true, 2));
}

#[tokio::test]
async fn an_open_issue_is_brought_up_to_date_and_closed_when_it_is_over() {
    let (result, seen) = deliver(vec![ok(OPEN), (204, vec![], "")], "", &example()).await;
    assert_eq!(result.unwrap().answer, "204 No Content for OPS-7");
    assert_eq!(steps(&seen), ["POST /search", "PUT /issue/OPS-7"]);
    assert_eq!(body(&seen[1])["fields"]["summary"], "disk full");

    let answers = vec![ok(OPEN), (204, vec![], ""), ok(TRANSITIONS), (204, vec![], "")];
    let (result, seen) = deliver(answers, "", &resolved()).await;
    result.unwrap();
    let transitions = "/issue/OPS-7/transitions";
    let expected = ["POST /search", "PUT /issue/OPS-7", &format!("GET {transitions}"), &format!("POST {transitions}")];
    assert_eq!(steps(&seen), expected);
    assert!(body(&seen[0])["jql"].as_str().unwrap().contains("and statusCategory != Done and project"));
    assert_eq!(body(&seen[3]), json!({"transition": {"id": "11"}}));
}

#[tokio::test]
async fn a_closed_issue_is_opened_again_and_nothing_is_made_to_be_closed() {
    let answers = vec![ok(CLOSED), (204, vec![], ""), ok(TRANSITIONS), (204, vec![], "")];
    let (result, seen) = deliver(answers, "", &example()).await;
    result.unwrap();
    assert_eq!(body(&seen[3]), json!({"transition": {"id": "12"}}));

    let (result, seen) = deliver(vec![ok(NONE)], "", &resolved()).await;
    assert_eq!((result.unwrap().answer.as_str(), seen.len()), ("no open issue to close", 1));
}

#[tokio::test]
async fn what_people_edit_can_be_left_to_them() {
    let (mut config, seen) = config(vec![ok(OPEN), (204, vec![], "")], "").await;
    config.summary.0.enable_update = false;
    config.description = read::<JiraConfig>(
        "{project: a, issue_type: b, description: {template: once, enable_update: false}}",
        "{jira_api_url: 'http://j'}",
    )
    .0
    .description;
    JiraSink::new(&config, Arc::default(), None).deliver(&example()).await.unwrap();
    let body = body(&seen.lock().unwrap()[1]);
    assert_eq!((body["fields"].get("summary"), body["fields"].get("description")), (None, None));
    assert_eq!(body["fields"]["priority"]["name"], "High");
}

#[tokio::test]
async fn long_texts_are_cut() {
    let (mut config, seen) = config(vec![ok(NONE), (201, vec![], "{}")], "").await;
    config.summary = JiraText::new(Text::new("ä".repeat(300)));
    config.description = JiraText::new(Text::new("ö".repeat(40_000)));
    JiraSink::new(&config, Arc::default(), None).deliver(&example()).await.unwrap();
    let fields = body(&seen.lock().unwrap()[1])["fields"].clone();
    assert_eq!(fields["summary"], format!("{}…", "ä".repeat(254)));
    assert_eq!(fields["description"].as_str().unwrap().chars().count(), 32_767);
}

#[tokio::test]
async fn failures_say_what_to_do_and_whether_they_may_pass() {
    let answers = vec![ok(OPEN), (204, vec![], ""), ok(r#"{"transitions":[{"id":"1","name":"Start"}]}"#)];
    let (result, _) = deliver(answers, "", &resolved()).await;
    let error = result.unwrap_err();
    assert_eq!((error.retry, error.message.as_str()), (false, "OPS-7 has no transition \"Done\" now, but: Start"));

    let more = ", http_config: {basic_auth: {username: me, password: hunter2}}";
    let (result, seen) = deliver(vec![(401, vec![], "hunter2 is wrong")], more, &example()).await;
    let error = result.unwrap_err();
    assert!(!error.retry && error.message.ends_with(": <secret> is wrong"), "{error}");
    assert!(seen[0].header("authorization").starts_with("Basic "));

    let (result, _) = deliver(vec![(429, vec![("Retry-After", "5".to_string())], "")], "", &example()).await;
    let error = result.unwrap_err();
    assert_eq!((error.retry, error.retry_after), (true, Some(Duration::from_secs(5))));

    let (result, _) = deliver(vec![ok("<html>")], "", &example()).await;
    let error = result.unwrap_err();
    assert!(error.retry && error.message.contains(" answered 200 OK with what is not Jira's JSON"), "{error}");
}

#[test]
fn the_cloud_is_searched_in_version_3() {
    let url = |api: &str, kind: &str| {
        let config = JiraConfig { api_type: kind.to_string(), ..JiraConfig::default() };
        JiraSink::new(&config, Arc::default(), None).search_url(&Address::new(api).unwrap()).to_string()
    };
    assert_eq!(url("https://x.atlassian.net/rest/api/2", "auto"), "https://x.atlassian.net/rest/api/3/search/jql");
    assert_eq!(url("https://x.atlassian.net/rest/api/2/", "datacenter"), "https://x.atlassian.net/rest/api/2/search");
    assert_eq!(url("https://jira.example/rest/api/2", "auto"), "https://jira.example/rest/api/2/search");
    assert_eq!(url("https://jira.example/rest/api/3", "cloud"), "https://jira.example/rest/api/3/search/jql");
    assert_eq!(url("https://notatlassian.net/rest/api/2", "auto"), "https://notatlassian.net/rest/api/2/search");
}

#[test]
fn version_3_takes_descriptions_as_documents() {
    assert_eq!(document(r#"{"type":"doc"}"#), json!({"type": "doc"}));
    let text = |line: &str| json!({"type": "paragraph", "content": [{"type": "text", "text": line}]});
    let paragraphs = json!([text("a"), {"type": "paragraph"}, text("b")]);
    assert_eq!(document("a\n\nb\n"), json!({"type": "doc", "version": 1, "content": paragraphs}));
    assert_eq!(document("7"), json!({"type": "doc", "version": 1, "content": [text("7")]}));
}

#[test]
fn what_is_needed_is_said() {
    assert_eq!(
        read::<JiraConfig>("{api_type: x}", "{}").1,
        "jira_configs needs a project: its key\n\
         jira_configs needs an issue_type, such as Task\n\
         api_type is one of auto, cloud, datacenter\n\
         jira_configs needs an api_url, or jira_api_url under global"
    );
}
