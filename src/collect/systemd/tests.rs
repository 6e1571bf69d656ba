//! A bus of another make answers in `tests/systemd.rs`; here are those that no D-Bus library would be.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use super::*;
use crate::collect::testing::{Runner, Tree};
use crate::dbus::Address;
use crate::fuzz::Fuzz;

const AT: &str = "root/run/dbus/system_bus_socket";

/// A collector of the bus in this tree that gives up early.
fn build(tree: &Tree) -> Systemd {
    let mut systemd = Systemd::new(&SystemdConfig::default(), &tree.roots());
    systemd.peer.addresses = vec![Address::Path(tree.path(AT))];
    systemd.peer.limit = Duration::from_millis(300);
    systemd
}

/// A peer that does this with whoever connects first.
fn peer(tree: &Tree, serve: impl FnOnce(&mut UnixStream) + Send + 'static) -> JoinHandle<()> {
    std::fs::create_dir_all(tree.path(AT).parent().unwrap()).unwrap();
    tree.remove(AT);
    let listener = UnixListener::bind(tree.path(AT)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        serve(&mut stream);
    })
}

/// Reads what the other side says first, answers, and says no more.
fn answer(stream: &mut UnixStream, with: &[u8]) {
    let _ = stream.read(&mut [0; 8192]);
    let _ = stream.write_all(with);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn failure(tree: &Tree) -> String {
    let began = Instant::now();
    let error = Runner::new(build(tree)).failure().1;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    error
}

#[test]
fn without_a_bus_there_is_no_data() {
    let tree = Tree::new::<&str>(&[]);
    let error = failure(&tree);
    assert!(error.starts_with("no data: ") && error.contains("system_bus_socket"), "{error}");
}

#[test]
fn each_way_of_not_answering_is_told_in_time() {
    type Serve = fn(&mut UnixStream);
    let cases: [(Serve, &str); 8] = [
        (|s| drop(s.read_to_end(&mut Vec::new())), "no answer in time"),
        (|s| answer(s, b""), "closed"),
        (|s| answer(s, b"REJECTED EXTERNAL\r\n"), "this user is not let in: REJECTED EXTERNAL"),
        (|s| answer(s, &[b'x'; 9000]), "no line end"),
        (
            |s| {
                let _ = s.write_all(b"OK 1234\r\n");
                let _ = s.read_to_end(&mut Vec::new());
            },
            "no answer in time",
        ),
        (|s| answer(s, b"OK 1234\r\nHTTP/1.1 400 Bad Request\r\n\r\n"), "not D-Bus: no byte order mark"),
        (
            |s| answer(s, b"OK 1234\r\nl\x02\x01\x01\xff\xff\xff\xff\x01\0\0\0\xff\xff\xff\xff"),
            "not D-Bus: a message larger",
        ),
        (
            // One byte after the other: each in time, all of them never.
            |s| {
                let _ = s.write_all(b"OK 1234\r\n");
                while s.write_all(b"l").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            },
            "no",
        ),
    ];
    for (serve, expected) in cases {
        let tree = Tree::new::<&str>(&[]);
        let served = peer(&tree, serve);
        let error = failure(&tree);
        assert!(error.contains(expected) && error.contains("system_bus_socket"), "{expected}: {error}");
        served.join().unwrap();
    }
}

#[test]
fn a_peer_that_accepts_nobody_is_not_waited_for() {
    let tree = Tree::new::<&str>(&[]);
    std::fs::create_dir_all(tree.path(AT).parent().unwrap()).unwrap();
    let address = SocketAddrUnix::new(tree.path(AT)).unwrap();
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    let listener = socket();
    bind(&listener, &address).unwrap();
    listen(&listener, 1).unwrap();
    // Fills the queue of those who wait: from then on a connect would block.
    let waiting: Vec<_> = (0..4).map(|_| socket()).collect();
    assert!(waiting.iter().any(|s| connect(s, &address).is_err()));
    let error = failure(&tree);
    assert!(error.contains("cannot connect to"), "{error}");
}

#[test]
fn a_bus_that_is_not_listening_is_named() {
    let tree = Tree::new::<&str>(&[]);
    std::fs::create_dir_all(tree.path(AT).parent().unwrap()).unwrap();
    drop(UnixListener::bind(tree.path(AT)).unwrap());
    let error = failure(&tree);
    assert!(error.contains("cannot connect to") && error.contains("efused"), "{error}");
}

#[test]
fn whatever_a_bus_says_nothing_panics() {
    let tree = Tree::new::<&str>(&[]);
    // An answer to the first call, so that what comes behind is read as further ones.
    let good = b"OK 1\r\nl\x02\x01\x01\0\0\0\0\x01\0\0\0\x08\0\0\0\x05\x01u\0\x01\0\0\0";
    Fuzz::of(&[good]).heap(1 << 24).bytes(|said| {
        let said = said.to_vec();
        let served = peer(&tree, move |s| answer(s, &said));
        let mut systemd = build(&tree);
        systemd.peer.limit = Duration::from_secs(5);
        assert!(Runner::new(systemd).section().1.is_err());
        served.join().unwrap();
    });
}

#[test]
fn no_address_or_version_makes_it_panic() {
    Fuzz::of(&["unix:path=/run/a%20b;unix:abstract=x,guid=1;tcp:host=a", "252.38-1~deb12u1"]).bytes(|text| {
        assert!(Address::list(text).len() <= text.len());
        let _ = version(&String::from_utf8_lossy(text));
    });
}

#[test]
fn garbled_lists_of_units_never_panic() {
    let mut body = Vec::new();
    for text in ["a.service", "A", "loaded", "active", "running", "", "/a"] {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend([0; 4 + 5]);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(b"\x01\0\0\0/\0");
    let fields = b"\x05\x01u\0\x03\0\0\0\x08\x01g\0\x0da(ssssssouso)\0";
    let mut message = b"l\x02\x01\x01".to_vec();
    for number in [body.len() + 8, 1, fields.len()] {
        message.extend((number as u32).to_le_bytes());
    }
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend((body.len() as u32).to_le_bytes());
    message.extend([0; 4]);
    message.extend(body);
    let read = |bytes: &[u8]| read_units(&mut Message::parse(bytes)?);
    let units = read(&message).unwrap();
    assert_eq!(
        units.iter().map(|u| (&*u.name, &*u.active_state, &*u.path)).collect::<Vec<_>>(),
        [("a.service", "active", "/a")]
    );
    Fuzz::of(&[message]).bytes(|message| {
        let _ = read(message);
    });
}

#[test]
fn versions_as_distributions_write_them() {
    assert_eq!(version("252.38-1~deb12u1"), (252.38, "252.38-1~deb12u1"));
    assert_eq!(version("v249.11-0ubuntu3"), (249.11, "v249.11-0ubuntu3"));
    assert_eq!(version("257"), (257.0, "257"));
    assert_eq!(version("systemd 44.7 (255.)"), (255.0, "systemd 44.7 (255.)"));
    assert_eq!(version("45"), (0.0, ""));
    assert_eq!(version("ü²³"), (0.0, ""));
}
