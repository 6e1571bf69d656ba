//! Prometheus' engine, in a program of its own.

use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::compare::Answer;
use super::data::{Data, END};
use super::random::Random;

/// The release that it is built from.
const MODULE: &str = "module promql-peer\n\ngo 1.26.0\n\nrequire github.com/prometheus/prometheus v0.316.0\n";

/// A query; an instant where the step is 0. Milliseconds.
pub struct Request {
    pub expr: String,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Request {
    pub fn random(random: &mut Random, expr: String) -> Request {
        let start = match random.below(8) {
            0 => END + random.below(400_000) as i64,
            1 => random.below(60_000) as i64,
            // Where a subquery begins just where the query does, Prometheus takes `@ start()` within it for another time.
            2 => END + 137,
            _ => END - random.below(600_000) as i64,
        };
        if !random.one_in(4) {
            return Request { expr, start, end: start, step: 0 };
        }
        let step = [1_000, 7_000, 15_000, 60_000][random.below(4)];
        Request { expr, start, end: start + step * random.below(8) as i64, step }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.expr, self.start)?;
        if self.step > 0 {
            write!(f, " to {} by {}", self.end, self.step)?;
        }
        Ok(())
    }
}

pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// None where there is none and none can be built: that is said, and is a failure where peers are required.
    pub fn start() -> Option<Peer> {
        let program = match env::var_os("WATCHFIRE_PROMQL_PEER") {
            Some(path) => PathBuf::from(path),
            None => match build() {
                Ok(path) => path,
                Err(why) => {
                    // Go is no package of the system's, as the other peers are: without it there is nothing to require.
                    let go = Command::new("go").arg("version").output().is_ok();
                    let required = go && env::var_os("WATCHFIRE_REQUIRE_PEERS").is_some();
                    assert!(!required, "Prometheus' engine is required, and could not be built: {why}");
                    eprintln!("skipped: Prometheus' engine could not be built: {why}");
                    return None;
                }
            },
        };
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Some(Peer { child, input, output: BufReader::new(output) })
    }

    fn send(&mut self, request: &Value) {
        writeln!(self.input, "{request}").and_then(|()| self.input.flush()).expect("the peer reads");
    }

    pub fn load(&mut self, data: &Data) {
        self.send(&data.json());
    }

    pub fn ask(&mut self, r: &Request) -> Answer {
        self.send(&json!({"expr": r.expr, "start": r.start, "end": r.end, "step": r.step}));
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer answers");
        Answer::of_json(&serde_json::from_str(&line).unwrap_or_else(|e| panic!("{}: {e}: {line}", r.expr)))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the program, unless it is there already.
fn build() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql_peer/main.go");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promql-peer");
    let program = directory.join("peer");
    let text = fs::read(&source).map_err(|e| e.to_string())?;
    if program.is_file() && fs::read(directory.join("main.go")).is_ok_and(|t| t == text) {
        return Ok(program);
    }
    fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    fs::write(directory.join("go.mod"), MODULE).map_err(|e| e.to_string())?;
    let _ = fs::remove_file(&program);
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.current_dir(&directory).args(arguments).env("GOFLAGS", "-mod=mod -buildvcs=false");
        let output = command.output().map_err(|e| format!("go: {e}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    fs::write(directory.join("main.go"), &text).map_err(|e| e.to_string())?;
    go(&["build", "-o", "peer", "."])?;
    Ok(program)
}
