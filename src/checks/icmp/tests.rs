//! The check against this host, where it may ping; and packets.

use std::time::Duration;

use super::super::net::testing::{Ran, faults, run, section};
use super::packet::{Echo, Reply, payload, reply};
use super::*;
use crate::fuzz::Fuzz;

const LIMIT: Duration = Duration::from_secs(10);

/// Runs a check; `None`, and a line that says so, where the tests may not ping.
async fn probe(text: &str, limit: Duration) -> Option<Ran> {
    let ran = run(section::<IcmpCheck>(text).build(), limit).await;
    if ran.verdict.state == State::Unknown {
        let why = &ran.verdict.summary;
        assert!(why.contains("is not permitted") || why.contains("that version of IP"), "{why}");
        eprintln!("skipped {text:?}: {why}");
        return None;
    }
    Some(ran)
}

#[tokio::test]
async fn this_host_answers() {
    let Some(ran) = probe("target: 127.0.0.1", LIMIT).await else { return };
    assert!(ran.ok().starts_with("127.0.0.1 answered after "), "{}", ran.ok());
    let rtt = ran.value("probe_icmp_duration_seconds{phase=\"rtt\"}").unwrap();
    assert!(rtt > 0.0 && rtt < 1.0, "{rtt}");
    for phase in ["resolve", "setup"] {
        assert!(ran.value(&format!("probe_icmp_duration_seconds{{phase=\"{phase}\"}}")).is_some(), "{phase}");
    }
    assert_eq!(ran.value("probe_icmp_reply_hop_limit"), Some(64.0));
    assert_eq!(ran.value("probe_icmp_packet_loss_ratio"), Some(0.0));
    assert_eq!(ran.value("probe_ip_protocol"), Some(4.0));
    if let Some(ran) = probe("target: '::1'", LIMIT).await {
        // A host may know the version and have no address of it.
        if ran.verdict.state == State::Ok {
            assert_eq!(
                (ran.value("probe_icmp_reply_hop_limit"), ran.value("probe_ip_protocol")),
                (Some(64.0), Some(6.0))
            );
        }
    }
}

#[tokio::test]
async fn packets_are_as_many_and_as_long_as_they_should_be() {
    let Some(ran) = probe("{target: 127.0.0.1, packets: 3, payload_size: 0}", LIMIT).await else { return };
    ran.ok();
    assert!(ran.time >= PACE * 2, "{:?}", ran.time);
    for text in [
        "{target: 127.0.0.1, payload_size: 20000, ttl: 3}",
        "{target: 127.0.0.1, payload_size: 1400, dont_fragment: true, source_ip_address: 127.0.0.2}",
    ] {
        probe(text, LIMIT).await.unwrap().ok();
    }
    let long = "{target: 127.0.0.1, payload_size: 65507, dont_fragment: true}";
    let ran = probe(long, Duration::from_millis(500)).await.unwrap();
    assert!(ran.time < LIMIT / 2, "{:?}", ran.time);
    if ran.verdict.state != State::Ok {
        assert!(ran.critical().starts_with("ping 127.0.0.1: "), "{}", ran.critical());
    }
}

#[tokio::test]
async fn many_probes_at_a_time_do_not_take_each_others_packets() {
    if probe("target: 127.0.0.1", LIMIT).await.is_none() {
        return;
    }
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        all.spawn(run(section::<IcmpCheck>("{target: 127.0.0.1, packets: 2}").build(), LIMIT));
    }
    while let Some(ran) = all.join_next().await {
        ran.unwrap().ok();
    }
}

#[test]
fn losses_are_told_by_how_many_they_are() {
    let probe = |max_loss: f64| {
        let config: IcmpCheck = section(&format!("{{target: a, packets: 4, max_loss: {max_loss}}}"));
        IcmpProbe { config, id: AtomicU16::new(0) }
    };
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let clock = Clock::start(LIMIT);
    let report = |back: usize| Report { sent: 4, times: vec![Duration::from_millis(2); back], ..Report::default() };
    let judge = |max_loss, back| probe(max_loss).judge(ip, &clock, &report(back)).unwrap_or_else(|verdict| verdict);
    assert_eq!(judge(0.0, 4), Verdict::ok("192.0.2.1 answered after 2 ms"));
    let summary = "192.0.2.1 answered after 2 ms, but 1 of 4 packets were lost";
    assert_eq!(judge(0.0, 3), Verdict::new(State::Warning, summary));
    assert_eq!(judge(0.25, 3).state, State::Ok);
    assert_eq!(judge(0.25, 2).state, State::Warning);
    assert_eq!(judge(0.9, 0), Verdict::critical("ping 192.0.2.1: no answer within 10s"));
    let verdict = probe(0.0).judge(ip, &clock, &Report { sent: 3, ..report(3) }).unwrap_err();
    assert_eq!(verdict.state, State::Unknown);
    assert!(verdict.summary.starts_with("there was only time for 3 of 4 packets"), "{}", verdict.summary);
    let error = Some(io::Error::from_raw_os_error(libc::EHOSTUNREACH));
    let verdict = probe(0.0).judge(ip, &clock, &Report { sent: 4, error, ..Report::default() }).unwrap_err();
    assert_eq!(verdict, Verdict::critical("ping 192.0.2.1: no route to the host"));
}

#[test]
fn a_packet_is_read_behind_its_head_and_its_sum_is_right() {
    let echo = Echo { id: 0x1234, sequence: 2 };
    let mut packet = echo.request(false, &payload(5));
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    assert_eq!(words.sum::<u32>() % 0xffff, 0);
    assert_eq!(reply(&packet, false, false), None, "a request is no reply");
    packet[0] = 0;
    assert_eq!(reply(&packet, false, false), Some(Reply { echo, hop_limit: None }));
    let mut whole = vec![0x45; 1];
    whole.extend([0; 7]);
    whole.push(61);
    whole.extend([0; 11]);
    whole.extend(&packet);
    assert_eq!(reply(&whole, false, true), Some(Reply { echo, hop_limit: Some(61) }));
    let mut packet = echo.request(true, &[]);
    assert_eq!(packet.len(), 8);
    packet[0] = 129;
    assert_eq!(reply(&packet, true, true), Some(Reply { echo, hop_limit: None }));
    Fuzz::of(&[whole, packet]).bytes(|bytes| {
        let _ = (reply(bytes, false, true), reply(bytes, false, false), reply(bytes, true, true));
    });
}

#[test]
fn what_cannot_be_meant_is_said_with_its_place() {
    for (text, fault) in [
        ("packets: 1", "c:1:1: an icmp check needs a target"),
        ("target: a:80", "c:1:9: a target that is pinged has no port"),
        ("{target: a, packets: 0}", "c:1:22: packets is 1 to 1000"),
        ("{target: a, payload_size: 70000}", "c:1:27: payload_size is at most 65507"),
        ("{target: a, max_loss: 1}", "c:1:23: max_loss is a share"),
        ("{target: a, ttl: 0}", "c:1:18: ttl is 1 to 255"),
    ] {
        let said = faults::<IcmpCheck>(text);
        assert!(said.iter().any(|said| said.starts_with(fault)), "{text}: {said:?}");
    }
}
