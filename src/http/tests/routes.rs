//! What each route answers.

use std::io::Read;

use super::*;

#[tokio::test]
async fn each_route_answers_with_its_status_and_type() {
    let server = start();
    for (method, path, status, content_type, part) in [
        ("GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "# TYPE node_forks_total counter\n"),
        ("GET", "/metrics?x=1", 200, "text/plain; version=0.0.4; charset=utf-8", "node_forks_total{series="),
        ("GET", "/-/healthy", 200, "text/plain; charset=utf-8", "healthy"),
        ("GET", "/-/ready", 200, "text/plain; charset=utf-8", "ready"),
        ("GET", "/graph?g0.expr=a%7Bb%3D%22c+d%22%7D+%3E+1&g0.tab=1", 307, "text/plain; charset=utf-8", "elsewhere"),
        ("GET", "/", 200, "text/html; charset=utf-8", "testhost"),
        ("POST", "/-/reload", 200, "text/plain; charset=utf-8", "Reloaded"),
        ("PUT", "/-/reload", 200, "text/plain; charset=utf-8", "Reloaded"),
        ("GET", "/api/v2/alerts", 503, "application/json", "still starting"),
        ("POST", "/api/v2/alerts", 415, "application/json", "only [application/json]"),
        ("GET", "/nothing", 404, "text/plain; charset=utf-8", "Nothing here"),
        ("GET", "/metrics/", 404, "text/plain; charset=utf-8", "Nothing here"),
        ("GET", "/../etc/passwd", 404, "text/plain; charset=utf-8", "Nothing here"),
        ("POST", "/metrics", 405, "text/plain; charset=utf-8", "GET, HEAD"),
        ("GET", "/-/reload", 405, "text/plain; charset=utf-8", "POST, PUT"),
        ("DELETE", "/", 405, "text/plain; charset=utf-8", "GET, HEAD"),
    ] {
        let answer = server.request(method, path, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.text().contains(part), "{method} {path}: {}", answer.text());
        if status == 405 {
            assert_eq!(answer.header("allow"), Some(part));
        }
    }
    assert_eq!(server.agent.reloads.load(Ordering::Relaxed), 2);
    assert_eq!(server.metric("watchfire_http_requests_total"), 16.0);
}

#[tokio::test]
async fn the_link_of_an_alert_to_its_expression_leads_to_the_picture() {
    let server = start();
    for (query, place) in [
        ("?g0.expr=a%7Bb%3D%22c+d%22%7D+%3E+1&g0.tab=1", "chart.png?expr=a%7Bb%3D%22c+d%22%7D+%3E+1"),
        ("?g0.expr=up%0d%0aX-Evil:+1", "chart.png?expr=up%0D%0AX-Evil%3A+1"),
        ("", "./"),
    ] {
        let answer = server.get(&format!("/graph{query}")).await;
        assert_eq!((answer.status, answer.header("location")), (307, Some(place)));
    }
}

#[tokio::test]
async fn a_scrape_may_ask_for_some_collectors_alone() {
    let server = start();
    for (query, status, part) in [
        ("?collect[]=test", 200, "node_forks_total{series="),
        ("?collect%5B%5D=test", 200, "node_forks_total{series="),
        ("?exclude[]=other", 200, "node_forks_total{series="),
        ("?exclude[]=test", 200, ""),
        ("?collect[]=other", 400, "No collector \"other\" runs here"),
        ("?collect[]=test&exclude[]=test", 400, "cannot be combined"),
    ] {
        let answer = server.get(&format!("/metrics{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.text().contains(part), "{query}: {}", answer.text());
        assert_eq!(answer.text().is_empty(), part.is_empty(), "{query}");
    }
    for n in 0..40 {
        let answer = server.get(&format!("/metrics?exclude[]={n}")).await;
        assert!(answer.text().contains("node_forks_total"));
    }
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let server = start();
    for path in ["/metrics", "/-/healthy", "/-/ready", "/", "/nothing"] {
        let (get, head) = (server.get(path).await, server.request("HEAD", path, "").await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["content-type", "content-length", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn gzip_is_the_same_page_smaller() {
    let server = start();
    server.agent.tick(Instant::now());
    let plain = server.get("/metrics").await;
    let small = server.request("GET", "/metrics", "Accept-Encoding: br;q=1, gzip;q=0.8\r\n").await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    assert_eq!(small.header("vary"), Some("Accept, Accept-Encoding"));
    assert!(small.body.len() < plain.body.len() / 4);
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&*small.body).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
}

#[tokio::test]
async fn the_format_is_negotiated() {
    let server = start();
    let ask = async |accept| server.request("GET", "/metrics", &format!("Accept: {accept}\r\n")).await;
    let answer = ask("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2").await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.text().ends_with("# EOF\n") && answer.text().contains("# TYPE node_forks counter\n"));
    let answer =
        ask("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited").await;
    assert!(answer.header("content-type").unwrap().starts_with("application/vnd.google.protobuf; proto="));
    assert!(answer.body.windows(16).any(|w| w == b"node_forks_total"));
}

#[tokio::test]
async fn one_connection_serves_many_requests_pipelined_or_not() {
    let server = start();
    let mut stream = server.connect().await;
    for _ in 0..3 {
        send(&mut stream, "GET", "/-/healthy", "").await;
        assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200);
    }
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests = one("/-/healthy") + &one("/nothing") + &one("/metrics") + &one("/-/ready");
    stream.write_all(requests.as_bytes()).await.unwrap();
    for status in [200, 404, 200, 200] {
        assert_eq!(receive(&mut stream, "GET").await.unwrap().status, status);
    }
    send(&mut stream, "GET", "/metrics", "Connection: close\r\n").await;
    assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200);
    assert!(receive(&mut stream, "GET").await.is_none(), "closed as asked");
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = start();
    let mut stream = server.connect().await;
    stream.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 400);
}

#[tokio::test]
async fn many_requests_on_an_old_snapshot_share_one_sampling() {
    let server = start_with(&config(), Access::default(), Agent::new(5, Duration::from_millis(200)));
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = server.connect().await;
        send(&mut stream, "GET", "/metrics", "").await;
        streams.push(stream);
    }
    for mut stream in streams {
        assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200);
    }
    assert_eq!(server.agent.samplings.load(Ordering::Relaxed), 1);

    server.get("/metrics").await;
    assert_eq!(server.agent.samplings.load(Ordering::Relaxed), 1, "a fresh snapshot is served as it is");
    server.agent.tick(Instant::now().checked_sub(Duration::from_millis(1100)).unwrap());
    server.get("/metrics").await;
    assert_eq!(server.agent.samplings.load(Ordering::Relaxed), 2, "one older than a second is not");
}

#[tokio::test]
async fn an_agent_that_is_not_ready_says_so() {
    let server = start();
    server.agent.ready.store(false, Ordering::Relaxed);
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_reload_that_fails_says_why() {
    let server = start();
    server.agent.reload_fails.store(true, Ordering::Relaxed);
    let answer = server.request("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("the old configuration stays in force:\nwatchfire.yaml:1:1: no"));
    let answer = server.request("POST", "/-/reload", "Origin: https://evil.example\r\n").await;
    assert_eq!((answer.status, server.agent.reloads.load(Ordering::Relaxed)), (403, 1));
}

#[tokio::test]
async fn the_metrics_may_be_served_elsewhere() {
    let config = WebConfig { telemetry_path: "/".into(), ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::ZERO));
    assert!(server.get("/").await.text().contains("node_forks_total"));
    assert_eq!(server.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let server = start();
    let address = server.address.to_string().parse().unwrap();
    let config = WebConfig { listen_addresses: vec![address], ..config() };
    let error = Server::bind(&config, Access::default(), &Registry::new(), server.agent.clone()).err().unwrap();
    assert!(error.to_string().contains("--web.listen-address"), "{error}");
}
