//! Creates the process of a command: the one place where the pool needs `unsafe`.
//!
//! Why not `std::process::Command`: a command must be killed by the kernel when the agent dies (`PR_SET_PDEATHSIG`),
//! and the new process can only ask for that itself. `Command` allows it through `pre_exec`, but then it forks: it
//! copies the agent's page tables (time that grows with the agent's memory) and makes every page of the agent fault
//! once more. So this is what `posix_spawn` does inside, with a few calls more between clone and exec: the new process
//! borrows the agent's memory (`CLONE_VM`) while the thread that made it is suspended (`CLONE_VFORK`). It also takes
//! the pidfd from the same call, so there is no moment at which it could belong to another process.

use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::cgroup::ControlGroup;
use super::confine::{Confinement, Limit, Transit};
use super::limits::Limits;
use super::outcome::{StartError, StartStep};
use super::program::{DEFAULT_PATH, candidates};
use super::table::Slot;
use super::task::Command;
use super::users::Identity;

/// The ends of the three pipes that the command gets. All are above 2, so that putting one in place never closes
/// another.
pub(super) struct ChildEnds {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// All that the new process needs, in the form in which system calls take it.
pub(super) struct Image {
    program: String,
    /// The paths to try, in order.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    dir: Option<CString>,
    /// The `PATH` that was searched, if one was.
    searched: Option<String>,
    pub(super) limits: Limits,
    /// Whether `HOME` is the agent's, and not the task's.
    home_inherited: bool,
    /// Whether it lives on when the agent dies.
    pub(super) survives: bool,
}

impl Image {
    pub(super) fn new(command: &Command) -> Result<Image, StartError> {
        let program = command.program();
        let error = |reason: &str| StartError {
            program: program.to_string_lossy().into_owned(),
            step: StartStep::Arguments,
            source: io::Error::new(io::ErrorKind::InvalidInput, reason).into(),
        };
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| error("a NUL byte in what it is given"));
        if program.is_empty() {
            return Err(error("no program is named"));
        }
        let environment = command.environment();
        let mut searched = None;
        let candidates = if program.as_bytes().contains(&b'/') {
            vec![c_string(program.as_bytes().to_vec())?]
        } else {
            let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
            let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
            searched = Some(path.to_string_lossy().into_owned());
            candidates(program, path)
                .map(|candidate| c_string(candidate.into_os_string().into_vec()))
                .collect::<Result<_, _>>()?
        };
        let assignments = environment.into_iter().map(|(name, value)| {
            let mut text = name.into_vec();
            if text.is_empty() || text.contains(&b'=') {
                return Err(error("an environment variable's name is empty or contains '='"));
            }
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            c_string(text)
        });
        Ok(Image {
            program: program.to_string_lossy().into_owned(),
            candidates,
            env: assignments.collect::<Result<_, _>>()?,
            argv: command.argv.iter().map(|arg| c_string(arg.as_bytes().to_vec())).collect::<Result<_, _>>()?,
            dir: command.dir.as_ref().map(|dir| c_string(dir.as_os_str().as_bytes().to_vec())).transpose()?,
            searched,
            limits: command.limits.clone(),
            home_inherited: command.env.iter().all(|(name, _)| name != "HOME"),
            survives: false,
        })
    }

    /// The environment of a command that runs as this identity: the home is that user's, unless the task names one.
    fn env_of(&self, identity: Option<&Identity>) -> Vec<*const c_char> {
        let home = identity.and_then(|identity| identity.home.as_ref()).filter(|_| self.home_inherited);
        let stays = |variable: &&CString| home.is_none() || !variable.to_bytes().starts_with(b"HOME=");
        self.env.iter().filter(stays).chain(home).map(|variable| variable.as_ptr()).chain([ptr::null()]).collect()
    }

    pub(super) fn error(&self, step: StartStep, source: io::Error) -> StartError {
        StartError { program: self.program.clone(), step, source: source.into() }
    }
}

/// A process that has just been made. It is not reaped yet, so nobody else can have its number.
pub(super) struct Launched {
    pub(super) pid: rustix::process::Pid,
    /// `None` on kernels before 5.2.
    pub(super) pidfd: Option<OwnedFd>,
}

/// Makes processes. It belongs to one thread, which it changes for good: all signals are blocked there, so that no
/// handler of the agent ever runs on this thread or, with the agent's memory, in a new process. The thread has to
/// outlive the processes: the kernel sends the parent-death signal when the *thread* that made the process ends.
pub(super) struct Launcher {
    stack: Box<[MaybeUninit<u128>]>,
    not_send: PhantomData<*const ()>,
}

/// 64 KiB; what runs on it is [`prepare_and_exec`], which needs a few hundred bytes.
const STACK_UNITS: usize = 4096;

impl Launcher {
    pub(super) fn new() -> Launcher {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initializes the set that pthread_sigmask then reads; neither keeps the pointer.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        }
        Launcher { stack: vec![MaybeUninit::uninit(); STACK_UNITS].into_boxed_slice(), not_send: PhantomData }
    }

    /// Starts the command as the leader of a session, and so of a process group, of its own. Returns when it has
    /// executed its program or failed to.
    ///
    /// `slot` is where it is entered for the guard; `group` is the control group that it becomes a member of.
    pub(super) fn launch(
        &mut self,
        image: &Image,
        ends: &ChildEnds,
        slot: Option<&Slot>,
        group: Option<&ControlGroup>,
    ) -> Result<Launched, StartError> {
        let confinement = Confinement::new(&image.limits, group);
        let confinement = confinement.map_err(|(limit, error)| image.error(StartStep::Limit(limit), error))?;
        let (candidates, argv) = (pointers(&image.candidates), pointers(&image.argv));
        let env = image.env_of(confinement.identity.as_ref());
        let plan = Plan {
            candidates: candidates.as_ptr(),
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            dir: image.dir.as_ref().map_or(ptr::null(), |dir| dir.as_ptr()),
            fds: [ends.stdin.as_raw_fd(), ends.stdout.as_raw_fd(), ends.stderr.as_raw_fd()],
            agent: rustix::process::getpid().as_raw_nonzero().get(),
            confinement: &raw const confinement,
            slot: slot.map_or(ptr::null(), ptr::from_ref),
            death_signal: if image.survives { 0 } else { libc::SIGKILL },
            failed_step: AtomicI32::new(STEP_NONE),
            errno: AtomicI32::new(0),
        };
        let transit = Transit::begin(confinement.identity.as_ref());
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        // SAFETY: the new process runs `prepare_and_exec` on a stack of its own (`as_mut_ptr_range().end` is its top,
        // aligned to 16) in the agent's memory. CLONE_VFORK suspends this thread until the process has left that
        // memory by exec or exit, so stack, plan and what the plan points to outlive their use and nobody else
        // touches them. The rest of the agent runs on, as it does beside any thread: the function takes no lock,
        // allocates nothing, cannot unwind, and makes only system calls and stores to `plan` and `slot`, its view of thread-local storage (errno) being
        // that of this suspended thread. Handlers cannot run in it: this thread's mask, which it inherits, blocks all
        // signals (`Launcher::new`; the type is not Send), and it resets every handler before it unblocks them.
        // Without CLONE_FILES and CLONE_SIGHAND its descriptors and handlers are copies.
        let pid = unsafe {
            libc::clone(
                prepare_and_exec,
                self.stack.as_mut_ptr_range().end.cast(),
                flags,
                (&raw const plan).cast_mut().cast(),
                &raw mut pidfd,
            )
        };
        // The reason has to be looked at before anything else can change it.
        let error = io::Error::last_os_error();
        drop(transit);
        let created = (pid > 0).then(|| rustix::process::Pid::from_raw(pid)).flatten();
        let Some(pid) = created else {
            return Err(image.error(StartStep::Process, error));
        };
        // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor that nobody else owns; a kernel that does not
        // know the flag leaves -1.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        let failed = plan.failed_step.load(Ordering::Relaxed);
        if failed == STEP_NONE {
            return Ok(Launched { pid, pidfd });
        }
        // It is on its way out: this wait is short.
        let _ =
            rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
        let errno = plan.errno.load(Ordering::Relaxed);
        let step = match failed {
            STEP_DIRECTORY => StartStep::Directory(lossy(image.dir.as_deref())),
            STEP_EXECUTE => match &image.searched {
                Some(path) if errno == libc::ENOENT => StartStep::Search(path.clone()),
                _ => StartStep::Execute,
            },
            _ => Limit::of_code(failed - STEP_LIMIT).map_or(StartStep::Prepare, |limit| StartStep::Limit(limit.name())),
        };
        Err(image.error(step, io::Error::from_raw_os_error(errno)))
    }
}

fn lossy(text: Option<&std::ffi::CStr>) -> String {
    text.map_or_else(String::new, |text| text.to_string_lossy().into_owned())
}

/// A null-terminated array of pointers, as `execve` takes it; valid as long as `strings` is.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// What the new process reads, and where it says what failed.
struct Plan {
    candidates: *const *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    dir: *const c_char,
    fds: [c_int; 3],
    agent: libc::pid_t,
    confinement: *const Confinement,
    slot: *const Slot,
    death_signal: c_int,
    failed_step: AtomicI32,
    errno: AtomicI32,
}

const STEP_NONE: i32 = 0;
const STEP_PREPARE: i32 = 1;
const STEP_DIRECTORY: i32 = 2;
const STEP_EXECUTE: i32 = 3;
/// And from here on, a limit.
const STEP_LIMIT: i32 = 16;

/// What prctl(2) wants in the places it does not use, where a call with fewer arguments would leave anything.
const NONE: libc::c_ulong = 0;

/// Runs in the new process, in borrowed memory: only system calls from here on, and no way back but `_exit`.
extern "C" fn prepare_and_exec(plan: *mut c_void) -> c_int {
    // SAFETY: `launch` passes a pointer to a `Plan` that outlives this process's use of it.
    let plan = unsafe { &*plan.cast_const().cast::<Plan>() };
    // SAFETY: async-signal-safe calls with pointers from the plan (see `launch`) or to locals.
    unsafe {
        // A session of its own is a process group of its own, and has no terminal that a command could ask for a
        // password on and wait for ever.
        if libc::setsid() < 0 {
            return fail(plan, STEP_PREPARE);
        }
        // Here and not in the agent, which may be killed before it gets to it.
        if let Some(slot) = plan.slot.as_ref() {
            slot.enter(libc::getpid());
        }
        if let Err(limit) = (*plan.confinement).apply() {
            return fail(plan, STEP_LIMIT + limit.code());
        }
        // After the limits: a change of identity takes it back.
        if libc::prctl(libc::PR_SET_PDEATHSIG, plan.death_signal as libc::c_ulong) < 0 {
            return fail(plan, STEP_PREPARE);
        }
        // The agent may have died before it could be asked to take this process along.
        if libc::getppid() != plan.agent {
            return 127;
        }
        // What a service manager gave the agent so that it can see the host (CAP_DAC_READ_SEARCH and the like) would go on
        // to whatever a command starts. Before Linux 4.3 there is nothing to clear. What a program's own file gives it
        // (sudo) is left to the administrator: no_new_privs is not set.
        if libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, NONE, NONE, NONE) < 0
            && last_errno() != libc::EINVAL
        {
            return fail(plan, STEP_PREPARE);
        }
        // exec resets handlers, but not that SIGPIPE is ignored, as in every Rust program.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=libc::SIGRTMAX() {
            // Refused for SIGKILL, SIGSTOP and libc's own: those are as they should be.
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
        for (target, source) in (0..).zip(plan.fds) {
            if libc::dup2(source, target) < 0 {
                return fail(plan, STEP_PREPARE);
            }
        }
        // What the agent inherited without close-on-exec is not for commands. Before Linux 5.9 this is refused; then
        // close-on-exec, which all of the agent's own descriptors have, must do.
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, 0 as libc::c_uint);
        if !plan.dir.is_null() && libc::chdir(plan.dir) < 0 {
            return fail(plan, STEP_DIRECTORY);
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());

        // As execvp(3), but without its shell for files that the kernel cannot execute. A file that may not be executed
        // does not end the search, but is the better answer when nothing else is found.
        let mut errno = libc::ENOENT;
        let mut candidate = plan.candidates;
        while !(*candidate).is_null() {
            libc::execve(*candidate, plan.argv, plan.env);
            match last_errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => errno = libc::EACCES,
                other => {
                    errno = other;
                    break;
                }
            }
            candidate = candidate.add(1);
        }
        plan.errno.store(errno, Ordering::Relaxed);
    }
    plan.failed_step.store(STEP_EXECUTE, Ordering::Relaxed);
    127
}

fn fail(plan: &Plan, step: i32) -> c_int {
    plan.errno.store(last_errno(), Ordering::Relaxed);
    plan.failed_step.store(step, Ordering::Relaxed);
    127
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
