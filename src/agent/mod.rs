//! The agent: the only place that knows all parts. Starts them, feeds them, reloads them, stops them.
//!
//! Three kinds of threads: the *tick thread* ([`tick`]) samples (through the lanes of `collect/`), appends to history and,
//! between ticks, evaluates rules; the tokio runtime serves HTTP and delivers alerts; the store and history write on threads of
//! their own. Between them stand [`Shared`] and two channels: commands to the tick thread, alerts from it.

mod charts;
mod clock;
mod culprits;
mod heap;
mod instruments;
mod kept;
mod lookback;
mod memory;
mod own;
mod said;
mod shared;
mod tick;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::alerting::Alerting;
use crate::chart;
use crate::checks::{Board, Runner};
use crate::collect::Roots;
use crate::config::{Config, ConfigFile};
use crate::history::{DiskMetrics, Place};
use crate::http::{Access, App, ExternalUrl, Server, WebHandle};
use crate::model::{Labels, Timestamp};
use crate::pool::Pool;
use crate::state::{Store, default_directory};
use crate::yaml::Faults;
pub use charts::OfAlerts;
use instruments::Instruments;
use shared::{Reloader, Shared};
use tick::{Command, Outlets, Ticker};

/// How long deliveries and requests in work may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// The subcommand that is the guard of the pool's commands.
pub const GUARD: &str = "guard";

/// This very program, also when another has been installed in its place.
const SELF: &str = "/proc/self/exe";

/// Where the configuration comes from: read at the start, and again on each reload.
pub struct Source {
    pub config_file: Option<PathBuf>,
    pub roots: Roots,
    /// Puts the flags over what the file says.
    pub flags: Box<dyn Fn(&mut ConfigFile) + Send + Sync>,
}

impl Source {
    /// The whole configuration, or all that is wrong with it.
    fn load(&self) -> Result<Config, Faults> {
        Config::load(self.config_file.as_deref(), |file| (self.flags)(file))
    }
}

/// Why the agent did not start.
#[derive(Debug)]
pub enum StartError {
    Config(Faults),
    /// What failed and what to do, in a line.
    Other(String),
}

impl StartError {
    fn other(error: impl ToString) -> StartError {
        StartError::Other(error.to_string())
    }
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(source: Source) -> Result<(), StartError> {
    heap::configure();
    raise_descriptor_limit();
    let config = source.load().map_err(StartError::Config)?;
    log_warnings(&config.warnings);
    let access = load_access(&config).map_err(StartError::Config)?;
    // Two threads serve and deliver: neither is ever long at work, and each costs memory (a stack what is used of it).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("watchfire-io")
        .thread_stack_size(crate::promql::STACK)
        .enable_all()
        .build()
        .map_err(|e| StartError::Other(format!("cannot start the runtime: {e}")))?;
    runtime.block_on(serve(source, config, access))
}

/// The process pass keeps files of processes open; shells and systemd set a low soft limit for programs that use
/// select(2), which this one does not.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// One line a fault; the lines of the file are for a terminal.
fn log_warnings(faults: &Faults) {
    for fault in faults.iter() {
        tracing::warn!("{}", fault.in_a_line());
    }
}

/// Sees to it that commands keep within their limits, and that nothing of them outlives the agent.
fn secure(pool: &Pool) {
    if let Err(error) = pool.with_guard([SELF, GUARD]) {
        tracing::warn!(%error, "no guard for commands: what they start may outlive an agent that is killed");
    }
    // Dividing its control group moves all that is in it: in a terminal's that would be the user's other programs. A
    // service's is the agent's alone, and systemd tells whoever it has started itself so (systemd.exec(5)).
    let is_service = std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if is_service {
        match pool.with_control_groups() {
            Ok(true) => tracing::debug!("commands whose memory is limited run in control groups of their own"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "no control groups for commands; their memory is limited process by process")
            }
        }
    }
}

fn load_access(config: &Config) -> Result<Access, Faults> {
    config.file.web.config_file.as_deref().map_or_else(|| Ok(Access::default()), Access::load)
}

fn storage_directory(config: &Config) -> Result<PathBuf, StartError> {
    let path = config.file.storage.path.clone().or_else(|| default_directory(|name| std::env::var_os(name)));
    path.ok_or_else(|| {
        StartError::Other(
            "no storage directory: neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor $HOME is set; name one with \
             --storage.path"
                .to_string(),
        )
    })
}

async fn serve(source: Source, mut config: Config, access: Access) -> Result<(), StartError> {
    // Before all else: a SIGHUP that comes while the agent starts must not end it.
    let signals = Signals::listen().map_err(|e| StartError::Other(format!("cannot listen for signals: {e}")))?;
    let registry = Registry::new();
    let instruments = Arc::new(Instruments::new(&registry).map_err(StartError::other)?);
    let (commands, inbox) = std::sync::mpsc::channel();
    let shared = Arc::new(Shared::new(commands.clone()));
    // What can fail for a reason of the operator's comes first: the address, the directory.
    let tls = access.has_tls();
    let server = Server::bind(&config.file.web, access, &registry, shared.clone()).map_err(StartError::other)?;
    let directory = storage_directory(&config)?;
    let store = Store::open(&directory, &registry).map_err(StartError::other)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = source.config_file.as_deref().map_or("defaults".to_string(), |file| file.display().to_string()),
        rules = config.rule_count(),
        state = %directory.display(),
        "starting"
    );
    let runtime = tokio::runtime::Handle::current();
    let pool = Pool::new(config.file.pool, &registry, runtime.clone()).map_err(StartError::other)?;
    secure(&pool);
    let instance = instance_name(&config, server.local_addresses().first().map(|a| a.port()));
    config.file.web.external_url.get_or_insert_with(|| ExternalUrl::of(&instance, tls));
    let checks = Runner::new(pool.clone(), source.roots.clone()).keeping_in(store.clone());
    let alerting = Alerting::start(
        &config.file.alerting,
        alerting_options(&config, &shared, checks.board()),
        store.clone(),
        pool.clone(),
        &registry,
        &runtime,
    )
    .map_err(StartError::other)?;

    shared.update_overview(|o| {
        o.host = instance.clone();
        o.started = Timestamp::now();
    });
    let history = match config.file.history.persist {
        true => Some(Place {
            dir: directory.join("history"),
            metrics: DiskMetrics::register(&registry).map_err(StartError::other)?,
        }),
        false => None,
    };
    shared.set_alerting(alerting.clone());
    shared.set_checks(pool.clone(), checks.board());
    let configured = config.file.checks.clone();
    let outlets = Outlets {
        shared: shared.clone(),
        alerting: alerting.clone(),
        store: store.clone(),
        registry,
        instruments: instruments.clone(),
        history,
        checks: checks.board(),
    };
    let fixed = fixed(&config.file);
    server.handle().set_query_limits(config.file.query.clone());
    tell(&shared, &config.file);
    shared.update_about(|about| {
        about.target = target_labels(&config.file, &instance);
        about.telemetry_path.clone_from(&config.file.web.telemetry_path);
        about.started = Timestamp::now();
    });
    let ticker = Ticker::new(config, &source.roots, &instance, outlets).map_err(StartError::other)?;
    shared.set_history(ticker.history().clone());
    let thread = std::thread::Builder::new()
        .name("watchfire-tick".to_string())
        .spawn(move || end_on_panic("tick thread", || ticker.run(&inbox)))
        .map_err(|e| StartError::Other(format!("cannot start the tick thread: {e}")))?;
    checks.set(&configured);

    let reloader = Arc::new(Reload {
        source,
        fixed,
        instance,
        web: server.handle(),
        shared: shared.clone(),
        alerting: alerting.clone(),
        pool: pool.clone(),
        checks,
        runtime,
        commands: commands.clone(),
        instruments,
        one_at_a_time: Mutex::default(),
    });
    reloader.instruments.reload_successful.set(1);
    reloader.instruments.reload_success_time.set(Timestamp::now().as_millis() / 1000);
    shared.set_reloader(reloader.clone());
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped, GRACE));

    signals.until_told_to_stop(reloader).await;

    tracing::info!("stopping: finishing deliveries");
    shared.stopping();
    let _ = commands.send(Command::Stop);
    // The tick thread ends with its tick; it hands over its last alerts before.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    let left = alerting.shutdown(GRACE).await;
    if left > 0 {
        tracing::warn!(notifications = left, "not delivered with a last try: kept for the next start");
    }
    pool.shutdown(crate::pool::Queued::Cancel, Duration::from_secs(2)).await;
    let _ = stop.send(true);
    let _ = tokio::time::timeout(GRACE, serving).await;
    store.settled().await;
    tracing::info!("stopped");
    Ok(())
}

/// Ends the agent when a part that it cannot do without panics: a service manager starts it anew, and what is due is in
/// the store, while an agent that looks alive and watches nothing is worse than none.
fn end_on_panic(part: &str, run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!(part, "a part of the agent panicked (a bug: please report it); ending to be started anew");
        std::process::exit(70); // EX_SOFTWARE of sysexits(3)
    }
}

/// The signals that the agent acts on; one that comes before anybody waits is kept.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads on SIGHUP; returns on SIGTERM or SIGINT.
    async fn until_told_to_stop(mut self, reloader: Arc<Reload>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    // What is wrong is in the log already.
                    let _ = (reloader.clone() as Arc<dyn Reloader>).reload().await;
                }
            }
        }
    }
}

/// The label `instance`: as configured, else HOST:PORT; `port`: where the agent listens.
pub fn instance_name(config: &Config, port: Option<u16>) -> String {
    if !config.file.global.instance.is_empty() {
        return config.file.global.instance.clone();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", port.unwrap_or(9100))
}

fn target_labels(file: &ConfigFile, instance: &str) -> Labels {
    Labels::from_pairs([("job", file.global.job.as_str()), ("instance", instance)])
}

/// Has clients of the API told of the settings that have just been put in force.
fn tell(shared: &Shared, file: &ConfigFile) {
    shared
        .charts()
        .set(chart::Settings { lookback: file.query.lookback_delta, subquery_step: file.global.evaluation_interval });
    shared.update_about(|about| {
        about.scrape_interval = file.global.scrape_interval;
        about.evaluation_interval = file.global.evaluation_interval;
        about.rule_query_offset = file.global.rule_query_offset;
        about.retention = file.history.retention;
        about.config_loaded = Timestamp::now();
        about.config_valid = true;
        about.external_labels = file.global.external_labels.clone();
        about.alertmanager_config = file.alerting.alertmanager_yaml().into();
    });
}

fn alerting_options(config: &Config, shared: &Shared, checks: Arc<Board>) -> crate::alerting::Options {
    crate::alerting::Options {
        external_labels: config.file.global.external_labels.clone(),
        external_url: external_url(&config.file),
        charts: Some(Arc::new(OfAlerts(shared.charts()))),
        actions: config.file.actions.clone(),
        checks: said::said(checks),
    }
}

/// Where people reach the agent, as far as it has been said or found.
fn external_url(file: &ConfigFile) -> String {
    file.web.external_url.as_ref().map_or("", ExternalUrl::as_str).to_string()
}

/// What is read only when the agent starts: keys, and what they are.
type Fixed = [(&'static str, String); 11];

fn fixed(file: &ConfigFile) -> Fixed {
    let web = &file.web;
    [
        ("web.listen_addresses", format!("{:?}", web.listen_addresses)),
        ("web.systemd_socket", web.systemd_socket.to_string()),
        ("web.telemetry_path", web.telemetry_path.clone()),
        ("web.cors_origin", format!("{:?}", web.cors_origin)),
        ("web.max_connections", web.max_connections.to_string()),
        ("web.read_header_timeout", format!("{:?}", web.read_header_timeout)),
        ("web.write_timeout", format!("{:?}", web.write_timeout)),
        ("web.idle_timeout", format!("{:?}", web.idle_timeout)),
        ("storage.path", format!("{:?}", file.storage.path)),
        ("history.persist", file.history.persist.to_string()),
        ("global.job and global.instance", format!("{:?} {:?}", file.global.job, file.global.instance)),
    ]
}

/// Puts a new configuration in force, or keeps the old one.
struct Reload {
    source: Source,
    /// As it was when the agent started.
    fixed: Fixed,
    instance: String,
    web: WebHandle,
    shared: Arc<Shared>,
    alerting: Alerting,
    pool: Pool,
    checks: Runner,
    runtime: tokio::runtime::Handle,
    commands: std::sync::mpsc::Sender<Command>,
    instruments: Arc<Instruments>,
    /// Held through a reload: of two at a time, the one that read the file last must be the one that stays in force.
    one_at_a_time: Mutex<()>,
}

impl Reloader for Reload {
    /// Everything is read and checked before anything is changed; what follows cannot fail.
    fn reload_blocking(&self) -> Result<(), String> {
        let _held = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.source.load().and_then(|config| Ok((load_access(&config)?, config)));
        self.instruments.reload_successful.set(i64::from(result.is_ok()));
        self.shared.update_about(|about| about.config_valid = result.is_ok());
        match result {
            Ok((access, mut config)) => {
                let own = || ExternalUrl::of(&self.instance, access.has_tls());
                config.file.web.external_url.get_or_insert_with(own);
                log_warnings(&config.warnings);
                for ((key, now), (_, wanted)) in self.fixed.iter().zip(fixed(&config.file)) {
                    if *now != wanted {
                        tracing::warn!(key, "changed, but takes a restart of the agent");
                    }
                }
                self.web.set_access(access);
                self.web.set_query_limits(config.file.query.clone());
                tell(&self.shared, &config.file);
                self.pool.reconfigure(config.file.pool);
                self.checks.set(&config.file.checks);
                let options = alerting_options(&config, &self.shared, self.checks.board());
                self.runtime.block_on(self.alerting.reload(&config.file.alerting, options));
                let _ = self.commands.send(Command::Reload(Box::new((config, self.source.roots.clone()))));
                self.instruments.reload_success_time.set(Timestamp::now().as_millis() / 1000);
                tracing::info!("configuration reloaded");
                Ok(())
            }
            Err(faults) => {
                tracing::error!(faults = faults.len(), "the configuration is not valid; the old one stays in force");
                for fault in faults.iter() {
                    tracing::error!("{}", fault.to_string().lines().next().unwrap_or_default());
                }
                Err(faults.to_string())
            }
        }
    }
}
