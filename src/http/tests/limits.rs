//! Clients that are too many, too slow or too big.

use tokio::net::TcpSocket;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_header_of_a_megabyte_is_answered_431_and_the_connection_closed() {
    let server = start();
    let mut stream = server.connect().await;
    let header = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    stream.write_all(header.as_bytes()).await.unwrap();
    assert_eq!(receive(&mut stream, "GET").await.expect("an answer in spite of what was still being sent").status, 431);
    assert!(receive(&mut stream, "GET").await.is_none());
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_waited_for() {
    let server = start();
    let answer = server.request("POST", "/-/reload", "Content-Length: 99999999999\r\n").await;
    assert_eq!((answer.status, server.agent.reloads.load(Ordering::Relaxed)), (413, 0));
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_cut_off() {
    let config = WebConfig { read_header_timeout: SHORT, ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::ZERO));
    let mut stream = server.connect().await;
    let start = Instant::now();
    let mut sent = 0;
    while stream.write_all(b"G").await.is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(sent > 5 && start.elapsed() >= SHORT, "{sent} bytes in {:?}", start.elapsed());
    server.all_closed().await;
}

#[tokio::test]
async fn silence_and_idleness_have_their_own_times() {
    let config = WebConfig { read_header_timeout: SHORT, idle_timeout: 8 * SHORT, ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::ZERO));
    let (mut silent, mut idle) = (server.connect().await, server.connect().await);
    send(&mut idle, "GET", "/metrics", "").await;
    receive(&mut idle, "GET").await.unwrap();
    let start = Instant::now();
    assert!(receive(&mut silent, "GET").await.is_none());
    assert!(start.elapsed() < 7 * SHORT);
    assert!(receive(&mut idle, "GET").await.is_none());
    assert!(start.elapsed() >= 7 * SHORT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn who_reads_an_answer_byte_by_byte_holds_nothing_beyond_the_write_timeout() {
    let config = WebConfig { write_timeout: 4 * SHORT, ..config() };
    // More than the kernel's buffers take.
    let server = start_with(&config, Access::default(), Agent::new(60_000, Duration::ZERO));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    server.agent.tick(Instant::now());
    send(&mut stream, "GET", "/metrics", "").await;
    for _ in 0..5 {
        stream.read_u8().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.metric("watchfire_http_connections"), 1.0);
    server.all_closed().await;
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).await.expect_err("nor does the kernel keep the rest");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn six_hundred_silent_connections_do_not_keep_the_metrics_from_being_served() {
    let config = WebConfig { max_connections: 100, ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::ZERO));
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(server.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..20 {
        assert_eq!(server.get("/metrics").await.status, 200);
    }
    assert!(server.metric("watchfire_http_connections") <= 100.0);
}

#[tokio::test]
async fn when_all_places_are_taken_by_requests_in_work_a_new_one_is_refused_at_once() {
    let config = WebConfig { max_connections: 3, ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::from_secs(2)));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        send(&mut stream, "GET", "/metrics", "").await;
        waiting.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(start.elapsed() < Duration::from_millis(1500));
    assert_eq!(server.metric("watchfire_http_connections_rejected_total"), 1.0);
    for mut stream in waiting {
        assert_eq!(receive(&mut stream, "GET").await.unwrap().status, 200, "those in work are served");
    }
}

#[tokio::test]
async fn a_sampling_that_does_not_end_is_answered_503() {
    let config = WebConfig { write_timeout: 2 * SHORT, ..config() };
    let server = start_with(&config, Access::default(), Agent::new(5, Duration::from_secs(3600)));
    assert_eq!(server.get("/metrics").await.status, 503);
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_shutdown_ends_requests_that_are_in_work_and_accepts_no_more() {
    let server = start_with(&config(), Access::default(), Agent::new(5, Duration::from_millis(300)));
    let (mut idle, mut busy, mut half) = (server.connect().await, server.connect().await, server.connect().await);
    let _silent = server.connect().await;
    half.write_all(b"GET /metr").await.unwrap();
    send(&mut idle, "GET", "/-/healthy", "").await;
    receive(&mut idle, "GET").await.unwrap();
    send(&mut busy, "GET", "/metrics", "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(true).unwrap();
    assert!(receive(&mut idle, "GET").await.is_none());
    assert_eq!(receive(&mut busy, "GET").await.unwrap().status, 200);
    drop((idle, busy));
    let start = Instant::now();
    server.task.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(TcpStream::connect(server.address).await.is_err());
}
