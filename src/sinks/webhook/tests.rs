use tokio::net::TcpListener;

use super::super::notification::tests::example;
use super::super::testing::far_side;
use super::*;
use crate::sinks::{Authorization, BasicAuth, Reason};

fn to(url: &str) -> WebhookConfig {
    WebhookConfig { url: Some(Secret::new(url)), ..WebhookConfig::default() }
}

async fn send(config: &WebhookConfig) -> Result<Delivered, DeliveryError> {
    WebhookSink::new(config, &Arc::default()).deliver(&example()).await
}

#[tokio::test]
async fn a_webhook_posts_alertmanagers_json_and_takes_2xx_as_confirmation() {
    let (address, seen) = far_side(vec![(204, vec![], "")]).await;
    let delivered = send(&to(&format!("http://{address}/hook?x=1"))).await.unwrap();
    assert_eq!(delivered.answer, "204 No Content");
    let seen = seen.lock().unwrap()[0].clone();
    assert_eq!(seen.path, "/hook?x=1");
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("idempotency-key"), "s-7");
    assert!(seen.header("user-agent").starts_with("Watchfire/"));
    assert_eq!(seen.body, webhook_version_4(&example(), 0));
}

#[tokio::test]
async fn what_may_pass_is_retried_and_what_will_not_is_not_for_ever() {
    for (status, retry) in
        [(500, true), (503, true), (429, true), (408, true), (400, false), (401, false), (404, false)]
    {
        let (address, _) = far_side(vec![(status, vec![], "why it\n failed")]).await;
        let error = send(&to(&format!("http://{address}/"))).await.unwrap_err();
        assert_eq!(error.retry, retry, "{status}");
        assert!(error.message.starts_with(&format!("{address} answered {status}")), "{error}");
        assert!(error.message.ends_with(": why it failed"), "{error}");
    }
}

#[tokio::test]
async fn a_far_side_can_ask_to_be_left_alone() {
    let (address, _) = far_side(vec![(429, vec![("Retry-After", "17".to_string())], "")]).await;
    let error = send(&to(&format!("http://{address}/"))).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn no_answer_no_connection_and_a_closed_one_are_retried_and_name_the_host_only() {
    // Accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let config = WebhookConfig {
        timeout: Duration::from_millis(50),
        ..to(&format!("http://user:hunter2@{address}/TOKEN?key=abc"))
    };
    let error = send(&config).await.unwrap_err();
    assert_eq!((error.retry, error.reason), (true, Reason::Timeout));
    assert_eq!(error.message, format!("{address}: no answer within 50ms"));

    // Closes at once.
    let closing = tokio::spawn(async move {
        while let Ok((stream, _)) = silent.accept().await {
            drop(stream);
        }
    });
    let url = format!("http://user:hunter2@{address}/TOKEN?key=abc");
    let error = send(&to(&url)).await.unwrap_err();
    assert!(error.retry && error.message.starts_with(&format!("{address}: ")), "{error}");
    closing.abort();
    let _ = closing.await;

    // Nobody listens any more.
    let refused = send(&to(&url)).await.unwrap_err();
    assert!(refused.retry && refused.message.contains("refused"), "{refused}");
    for error in [error, refused] {
        for secret in ["hunter2", "TOKEN", "abc", "user"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
        }
    }
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    let (address, seen) = far_side(vec![(401, vec![], "hunter2 is wrong")]).await;
    let mut config = to(&format!("http://{address}/"));
    config.http_config.get_or_insert_default().authorization =
        Some(Authorization { credentials_file: Some(file.clone()), ..Authorization::default() });
    let error = send(&config).await.unwrap_err();
    assert_eq!(seen.lock().unwrap()[0].header("authorization"), "Bearer hunter2");
    assert!(error.message.ends_with(": <secret> is wrong"), "{error}");

    let mut config = to(&format!("http://{address}/"));
    let password = Some(Secret::new("hunter2"));
    config.http_config.get_or_insert_default().basic_auth =
        Some(BasicAuth { username: "me".into(), password, ..BasicAuth::default() });
    assert!(!format!("{config:?}").contains("hunter2"));
    let _ = send(&config).await;
    assert_eq!(seen.lock().unwrap()[1].header("authorization"), "Basic bWU6aHVudGVyMg==");
    // Credentials in the URL are sent as such.
    let _ = send(&to(&format!("http://me:hunter2@{address}/"))).await;
    assert_eq!(seen.lock().unwrap()[2].header("authorization"), "Basic bWU6aHVudGVyMg==");

    std::fs::remove_file(&file).unwrap();
    let mut config = to(&format!("http://{address}/"));
    config.http_config.get_or_insert_default().authorization =
        Some(Authorization { credentials_file: Some(file), ..Authorization::default() });
    let error = send(&config).await.unwrap_err();
    assert!(error.retry && error.message.contains("cannot read") && error.message.contains("token"), "{error}");
}

#[tokio::test]
async fn the_url_can_come_from_a_file_which_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let (address, seen) = far_side(vec![(200, vec![], "")]).await;
    let sink =
        WebhookSink::new(&WebhookConfig { url_file: Some(file.clone()), ..WebhookConfig::default() }, &Arc::default());
    std::fs::write(&file, format!("http://{address}/one\n")).unwrap();
    sink.deliver(&example()).await.unwrap();
    std::fs::write(&file, format!("http://{address}/two\n")).unwrap();
    sink.deliver(&example()).await.unwrap();
    let paths: Vec<String> = seen.lock().unwrap().iter().map(|s| s.path.clone()).collect();
    assert_eq!(paths, ["/one", "/two"]);
    std::fs::write(&file, "TOKEN not a url").unwrap();
    let error = sink.deliver(&example()).await.unwrap_err();
    assert_eq!(error.message, "the URL is not an http or https URL");
}

#[tokio::test]
async fn the_url_can_have_a_template_in_it() {
    let (address, seen) = far_side(vec![(200, vec![], "")]).await;
    send(&to(&format!("http://{address}/{{{{ .CommonLabels.severity }}}}-{{{{ \"A B\" | toLower | urlquery }}}}")))
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(seen.lock().unwrap()[0].path, "/page-a+b");
    let error = send(&to(&format!("http://{address}/TOKEN{{{{ template \"none\" }}}}"))).await.unwrap_err();
    assert_eq!((error.retry, error.message.as_str()), (false, "the URL: its template fails"));
    let mut faults = Faults::default();
    let text = "url: 'http://TOKEN/{{ if }}'\n";
    let _: WebhookConfig = crate::yaml::Document::parse("w", text, &mut faults).read(&mut faults);
    let said = faults.to_string();
    assert!(
        said.starts_with("w:1:") && said.contains(": the template is not valid") && !said.contains("TOKEN"),
        "{said}"
    );
}

#[tokio::test]
async fn only_redirects_that_keep_the_post_are_followed() {
    let (end, seen) = far_side(vec![(200, vec![], "")]).await;
    let moved = format!("http://{end}/moved");
    let (address, _) = far_side(vec![(307, vec![("Location", moved.clone())], "")]).await;
    send(&to(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].body, webhook_version_4(&example(), 0));

    let (address, _) = far_side(vec![(302, vec![("Location", moved.clone())], "")]).await;
    let error = send(&to(&format!("http://{address}/"))).await.unwrap_err();
    assert!(!error.retry && error.message.contains("302 Found, which is not followed"), "{error}");

    let (address, _) = far_side(vec![(308, vec![("Location", moved)], "")]).await;
    let mut config = to(&format!("http://{address}/"));
    config.http_config.get_or_insert_default().follow_redirects = false;
    assert!(send(&config).await.is_err());
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_given() {
    let (proxy, seen) = far_side(vec![(200, vec![], "")]).await;
    let mut config = to("http://nowhere.invalid/hook");
    config.http_config.get_or_insert_default().proxy_url = Some(Secret::new(format!("http://{proxy}")));
    send(&config).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].path, "http://nowhere.invalid/hook");
}
