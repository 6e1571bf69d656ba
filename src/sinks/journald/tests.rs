//! Entries to a socket that takes the protocol apart, and to a real journal.

use std::io::{IoSliceMut, Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use super::super::notification::tests::example;
use super::super::testing::{Process, context, eventually, missing};
use super::*;

fn sink(socket: &Path, message: &str) -> Arc<dyn Sink> {
    let config = JournaldConfig { socket: socket.to_path_buf(), message: Text::new(message), send_resolved: true };
    config.build(&context())
}

/// Takes an entry apart as the protocol's documentation says.
fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let line = bytes.iter().position(|b| *b == b'\n').unwrap();
        if let Some(equals) = bytes[..line].iter().position(|b| *b == b'=') {
            all.push((text(&bytes[..equals]), text(&bytes[equals + 1..line])));
            bytes = &bytes[line + 1..];
        } else {
            let name = text(&bytes[..line]);
            let (length, rest) = bytes[line + 1..].split_first_chunk::<8>().unwrap();
            let length = u64::from_le_bytes(*length) as usize;
            all.push((name, text(&rest[..length])));
            assert_eq!(rest[length], b'\n');
            bytes = &rest[length + 1..];
        }
    }
    all
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let found: Vec<&str> = fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    assert!(found.len() < 2, "{name} is there twice");
    found.first().copied()
}

#[tokio::test]
async fn each_alert_is_an_entry_with_all_that_is_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut n = example();
    n.alerts[0].details.threshold = Some(0.9);
    sink(&path, "the disk\nis full\n").deliver(&n).await.unwrap();
    let receive = || {
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        fields(&buffer[..length])
    };
    let (firing, resolved) = (receive(), receive());
    for (name, value) in [
        ("MESSAGE", Some("the disk\nis full")),
        ("MESSAGE_ID", Some(FIRING)),
        ("PRIORITY", Some("2")),
        ("SYSLOG_IDENTIFIER", Some("watchfire")),
        ("WATCHFIRE_ALERTNAME", Some("DiskFull")),
        ("WATCHFIRE_STATUS", Some("firing")),
        ("WATCHFIRE_SUMMARY", Some("disk <full> & \"loud\"")),
        ("WATCHFIRE_VALUE", Some("0.97")),
        ("WATCHFIRE_THRESHOLD", Some("0.9")),
        ("WATCHFIRE_STARTS_AT", Some("2023-11-14T22:13:20.5Z")),
        ("WATCHFIRE_ENDS_AT", None),
        ("WATCHFIRE_ID", Some("s-7")),
        ("WATCHFIRE_LABEL_SEVERITY", Some("page")),
    ] {
        assert_eq!(field(&firing, name), value, "{name}");
    }
    assert_eq!((field(&resolved, "MESSAGE_ID"), field(&resolved, "PRIORITY")), (Some(RESOLVED), Some("5")));
    assert_eq!(field(&resolved, "WATCHFIRE_ENDS_AT"), Some("2023-11-14T22:13:50Z"));
}

#[tokio::test]
async fn an_entry_too_large_for_a_datagram_is_handed_over_as_a_sealed_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let message = "x".repeat(1 << 20);
    sink(&path, &message)
        .deliver(&Notification { alerts: vec![example().alerts[0].clone()], ..example() })
        .await
        .unwrap();

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut nothing = [0; 16];
    let received = recvmsg(&journal, &mut [IoSliceMut::new(&mut nothing)], &mut control, RecvFlags::empty()).unwrap();
    assert_eq!(received.bytes, 0);
    let Some(RecvAncillaryMessage::ScmRights(files)) = control.drain().next() else { panic!("no file") };
    let mut file = std::fs::File::from(files.into_iter().next().unwrap());
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    assert!(seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL), "{seals:?}");
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(field(&fields(&bytes), "MESSAGE"), Some(message.as_str()));
}

#[tokio::test]
async fn without_a_journal_it_is_tried_again() {
    let error = sink(Path::new("/no/such/socket"), "x").deliver(&example()).await.unwrap_err();
    assert!(error.retry);
    assert_eq!(error.message, "cannot write to /no/such/socket: No such file or directory (os error 2)");
}

/// A journal of systemd's in a namespace of its own.
pub(in crate::sinks) struct Journal {
    name: String,
    _process: Process,
}

impl Journal {
    pub fn start() -> Option<Journal> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let program = ["/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald"];
        let Some(program) = program.into_iter().find(|p| Path::new(p).exists()) else {
            missing("systemd");
            return None;
        };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can start a journal");
            return None;
        }
        let name = format!("wf{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let child = Command::new(program).arg(&name).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let journal = Journal { name, _process: Process(child) };
        eventually("the journal listens", || journal.socket("socket").exists().then_some(()));
        Some(journal)
    }

    /// `socket`, the journal's own, or `dev-log`.
    pub fn socket(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/run/systemd/journal.{}/{name}", self.name))
    }

    /// The entries with this field, as journalctl tells them, once there are as many.
    pub fn entries(&self, field: &str, count: usize) -> Vec<Value> {
        eventually("the entries are in the journal", || {
            let namespace = format!("--namespace={}", self.name);
            let out =
                Command::new("journalctl").args([&namespace, "--no-pager", "--all", "--output=json", field]).output();
            let out = String::from_utf8(out.unwrap().stdout).unwrap();
            let entries: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (entries.len() >= count).then_some(entries)
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self._process.0.kill();
        let _ = self._process.0.wait();
        let _ = std::fs::remove_dir_all(format!("/run/systemd/journal.{}", self.name));
        let directories =
            ["/var/log/journal", "/run/log/journal"].into_iter().filter_map(|d| std::fs::read_dir(d).ok());
        for entry in directories.flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(&format!(".{}", self.name)) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[tokio::test]
async fn systemds_journal_has_the_entries() {
    let Some(journal) = Journal::start() else { return };
    let large = format!("two\nlines, and {}", "x".repeat(400_000));
    let firing = Notification { alerts: vec![example().alerts[0].clone()], ..example() };
    for (message, n) in [("Plattenplatz läuft aus", &example()), (large.as_str(), &firing)] {
        sink(&journal.socket("socket"), message).deliver(n).await.unwrap();
    }
    let firing = journal.entries(&format!("MESSAGE_ID={FIRING}"), 2);
    let resolved = journal.entries(&format!("MESSAGE_ID={RESOLVED}"), 1);
    assert_eq!((firing.len(), resolved.len()), (2, 1));
    assert_eq!(firing[0]["MESSAGE"], "Plattenplatz läuft aus");
    assert_eq!((&firing[0]["PRIORITY"], &firing[0]["SYSLOG_IDENTIFIER"]), (&"2".into(), &"watchfire".into()));
    assert_eq!((&firing[0]["WATCHFIRE_ALERTNAME"], &firing[0]["WATCHFIRE_ID"]), (&"DiskFull".into(), &"s-7".into()));
    assert_eq!(firing[1]["MESSAGE"].as_str(), Some(large.as_str()));
    assert_eq!((&resolved[0]["PRIORITY"], &resolved[0]["WATCHFIRE_STATUS"]), (&"5".into(), &"resolved".into()));
}
