//! Ends what the tests started and removes what they wrote, also when the test run itself is killed.
//!
//! A small shell waits at the end of a pipe; when the last writer is gone it ends every process that it still
//! watches, and removes their folders. It touches nothing that was not handed to it.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Interrupts first, so that Postgres gives back its shared memory; what has not ended in five seconds is killed.
const WATCH: &str = r#"
watched='' folders=''
while read -r verb what; do
    case $verb in
        watch) watched="$watched $what" ;;
        leave) rest=''; for p in $watched; do [ "$p" = "$what" ] || rest="$rest $p"; done; watched=$rest ;;
        folder) folders="$folders $what" ;;
    esac
done
tree=''
for p in $watched; do tree="$tree $p $(cat /proc/$p/task/$p/children 2>/dev/null)"; done
[ -z "$tree" ] || kill -CONT $tree 2>/dev/null
[ -z "$watched" ] || kill -INT $watched 2>/dev/null
tries=0
while [ -n "$watched" ] && [ $tries -lt 50 ] && kill -0 $watched 2>/dev/null; do sleep 0.1; tries=$((tries + 1)); done
[ -z "$tree" ] || kill -KILL $tree 2>/dev/null
for folder in $folders; do rm -rf "$folder"; done
"#;

/// The shell at the end of the pipe.
pub struct Watchdog {
    shell: Child,
    orders: Mutex<Option<ChildStdin>>,
}

impl Watchdog {
    /// A watchdog of its own; tests use [`Watchdog::shared`].
    pub fn new() -> Self {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", WATCH])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("every system has /bin/sh");
        let orders = Mutex::new(shell.stdin.take());
        Watchdog { shell, orders }
    }

    /// The one that watches over this test run.
    pub fn shared() -> &'static Watchdog {
        static SHARED: OnceLock<Watchdog> = OnceLock::new();
        SHARED.get_or_init(Watchdog::new)
    }

    fn order(&self, verb: &str, what: impl std::fmt::Display) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = orders.as_mut().expect("orders come before the end");
        writeln!(pipe, "{verb} {what}").expect("the watchdog lives as long as the tests");
    }

    /// Lets go of the pipe, as the death of the test run would, and waits until everything is ended.
    fn release(mut self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.shell.wait().expect("the watchdog is our child");
    }
}

/// A folder below one that every user may walk through; removed when it is dropped, or by the watchdog.
pub struct Folder(PathBuf);

impl Folder {
    /// A new empty folder.
    pub fn new(name: &str) -> Self {
        static ROOT: OnceLock<PathBuf> = OnceLock::new();
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let root = ROOT.get_or_init(|| {
            let root =
                tempfile::Builder::new().prefix("rowmetry-tests-").tempdir().expect("the temp folder is writable");
            let root = root.keep();
            std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
            Watchdog::shared().order("folder", root.display());
            root
        });
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = root.join(format!("{name}-{number}"));
        std::fs::create_dir(&folder).expect("the number is new");
        Folder(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
        file
    }

    /// Gives the folder to the user whose ids these are.
    pub fn give_to(&self, owner: Option<Owner>) {
        if let Some(owner) = owner {
            std::os::unix::fs::chown(&self.0, Some(owner.user), Some(owner.group)).expect("root may");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The user that servers which refuse to run as root run as.
#[derive(Clone, Copy)]
pub struct Owner {
    user: u32,
    group: u32,
}

/// Postgres' own user when the tests run as root; none when they do not.
pub fn server_owner() -> Option<Owner> {
    static OWNER: OnceLock<Option<Owner>> = OnceLock::new();
    *OWNER.get_or_init(|| {
        let probe = Folder::new("probe");
        let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(probe.path()).expect("just made"));
        if own != 0 {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("every system has it");
        ["postgres", "nobody"].iter().find_map(|name| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let ids: Vec<u32> = line.split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).collect();
            Some(Owner { user: *ids.first()?, group: *ids.get(1)? })
        })
    })
}

/// A command that runs as this user, in an environment of its own.
pub fn command_as(owner: Option<Owner>, program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C.UTF-8");
    command.current_dir(home).stdin(Stdio::null());
    if let Some(owner) = owner {
        command.gid(owner.group).uid(owner.user);
    }
    command
}

/// A running process; killed when it is dropped, or by the watchdog.
pub struct Process {
    child: Mutex<Child>,
    id: u32,
}

impl Process {
    /// Starts it, with everything that it prints in `log`. It is its own process group, so that an interrupt at the
    /// keyboard reaches the tests alone.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = std::fs::File::options().create(true).append(true).open(log).expect("the log's folder is ours");
        let err = out.try_clone().expect("files can be cloned");
        command.stdout(out).stderr(err).process_group(0);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let id = child.id();
        Watchdog::shared().order("watch", id);
        Process { child: Mutex::new(child), id }
    }

    /// Sends a signal by name (`TERM`).
    pub fn signal(&self, name: &str) {
        signal(name, &[self.id]);
    }

    /// Its children.
    pub fn children(&self) -> Vec<u32> {
        let file = format!("/proc/{0}/task/{0}/children", self.id);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.try_wait().expect("it is our child");
        if status.is_some() {
            Watchdog::shared().order("leave", self.id);
        }
        status
    }

    /// Kills it and waits.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        Watchdog::shared().order("leave", self.id);
    }

    /// Waits for its end, for so long.
    pub fn wait(&self, deadline: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            let status = self.ended();
            if status.is_some() || began.elapsed() > deadline {
                return status;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Its resident memory in bytes: now, and the most that it ever was.
    pub fn resident_bytes(&self) -> [u64; 2] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        ["VmRSS:", "VmHWM:"].map(|what| {
            let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
            let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
            assert_ne!(kib, 0, "process {} has no memory: it ended", self.id);
            kib * 1024
        })
    }

    /// Seconds of processor time that it has had, of all its threads together, to the hundredth.
    #[allow(dead_code, reason = "the benches use it")]
    pub fn busy_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // Its name, in parentheses, may hold blanks. Of what stands behind it, the 12th and 13th are ticks of a hundredth of a second.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// From now on, the most memory that it ever was begins with what it is now.
    #[allow(dead_code, reason = "the benches use it")]
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id), "5").expect("the process runs, and is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// Sends a signal by name to these processes; those that ended already do not matter.
pub fn signal(name: &str, ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {} 2>/dev/null", ids.join(" "));
    Command::new("/bin/sh").args(["-c", &script]).status().expect("every system has /bin/sh");
}

/// A loopback port that nobody listens on. It is below those that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(10_240..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port among 1000 tried");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_run_that_dies_leaves_no_process_and_no_folder() {
        let folder = tempfile::tempdir().expect("the temp folder is writable").keep();
        let watchdog = Watchdog::new();
        // One that obeys, one that ignores the interrupt, and one that is frozen.
        let mut children: Vec<Child> =
            ["exec sleep 1000", "trap '' INT; sleep 1000 & wait", "kill -STOP $$; exec sleep 1000"]
                .iter()
                .map(|script| {
                    Command::new("/bin/sh").args(["-c", script]).process_group(0).spawn().expect("has /bin/sh")
                })
                .collect();
        for child in &children {
            watchdog.order("watch", child.id());
        }
        let mut spared = Command::new("sleep").arg("1000").process_group(0).spawn().expect("has sleep");
        watchdog.order("watch", spared.id());
        watchdog.order("leave", spared.id());
        watchdog.order("folder", folder.display());
        watchdog.release();
        for child in &mut children {
            // A process that was killed is not gone in the same moment.
            let began = std::time::Instant::now();
            while child.try_wait().expect("ours").is_none() {
                assert!(began.elapsed() < Duration::from_secs(20), "process {} still runs", child.id());
                std::thread::yield_now();
            }
        }
        assert!(!folder.exists());
        assert_eq!(spared.try_wait().expect("ours"), None, "it was let go, so it lives");
        spared.kill().expect("ours");
        spared.wait().expect("ours");
    }
}
