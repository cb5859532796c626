//! An OpenSSH server of a test's own, on loopback: its keys are thrown away,
//! and the machine's own sshd, users' keys and settings are not touched.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Mark, Peer, Started, free_port, peer, under_valgrind, wait_for_port};

pub struct Sshd {
    daemon: Started,
    pub port: u16,
    peer: Peer,
}

impl Sshd {
    /// With more lines for its configuration; None when OpenSSH is missing, and
    /// under valgrind, which would see little of ours here.
    pub fn start(settings: &[&str]) -> Option<Self> {
        if under_valgrind() {
            return None;
        }
        let peer = peer("sshd")?;
        for name in ["host", "stranger", "key"] {
            make_key(&peer.folder.join(name));
        }
        fs::copy(peer.folder.join("key.pub"), peer.folder.join("authorized")).unwrap();
        // Root's sshd wants it, and the service that makes it may never have run.
        let _ = fs::create_dir_all("/run/sshd");
        let port = free_port();
        for (name, key) in [("known", "host.pub"), ("wrong", "stranger.pub"), ("nobody", "")] {
            let line = match key {
                "" => String::new(),
                key => format!("[127.0.0.1]:{port} {}", read(&peer.folder.join(key))),
            };
            fs::write(peer.folder.join(name), line).unwrap();
        }
        let here = peer.folder.display();
        let mut lines = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {here}/host\nAuthorizedKeysFile {here}/authorized\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PidFile none\nLogLevel QUIET\n"
        );
        settings.iter().for_each(|line| lines += &format!("{line}\n"));
        fs::write(peer.folder.join("config"), lines).unwrap();
        let mut command = Command::new(peer.program());
        command.args(["-D", "-f"]).arg(peer.folder.join("config")).stderr(Stdio::null());
        let daemon = Started::new(command);
        wait_for_port(port);
        Some(Self { daemon, port, peer })
    }

    /// ssh as a program should call it, with `Name=value` options besides.
    pub fn ssh(&self, options: &[&str], command: &str) -> Vec<String> {
        let port = format!("Port={}", self.port);
        let known = self.file("UserKnownHostsFile=", "known");
        let key = self.file("IdentityFile=", "key");
        let mut ours = vec![
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "GlobalKnownHostsFile=none",
            &port,
            &known,
        ];
        // Of an option that is given twice ssh takes the first; but every key.
        if !options.iter().any(|option| option.starts_with("IdentityFile=")) {
            ours.push(&key);
        }
        let mut argv = vec!["ssh", "-F", "none"];
        argv.extend(options.iter().chain(&ours).flat_map(|option| ["-o", option]));
        if !options.iter().any(|option| option.starts_with("RequestTTY=")) {
            argv.push("-T");
        }
        argv.extend(["127.0.0.1", command]);
        argv.into_iter().map(str::to_owned).collect()
    }

    /// `head` and a file of this server's folder, for an option.
    pub fn file(&self, head: &str, name: &str) -> String {
        format!("{head}{}", self.peer.folder.join(name).display())
    }

    /// To the processes of its sessions, not to what they have started.
    pub fn signal_sessions(&self, signal: Signal) {
        let sessions = self.sessions();
        assert!(!sessions.is_empty(), "no session is open");
        for session in sessions {
            let _ = kill(session, signal);
        }
    }

    fn sessions(&self) -> Vec<Pid> {
        let is_sshd = |pid: &i32| read(Path::new(&format!("/proc/{pid}/comm"))).starts_with("sshd");
        let all = descendants(self.daemon.child.id() as i32).into_iter();
        all.filter(is_sshd).map(Pid::from_raw).collect()
    }
}

impl Drop for Sshd {
    /// A test that failed may have stopped them, and none carries a mark: sshd
    /// writes its title over its environment.
    fn drop(&mut self) {
        for session in self.sessions() {
            let _ = kill(session, Signal::SIGKILL);
        }
    }
}

/// A command line for the far side's shell, whose processes carry the mark.
pub fn far(mark: &Mark, argv: &[String]) -> String {
    let quoted = argv.iter().map(|item| format!("'{}'", item.replace('\'', r"'\''")));
    format!("exec env {} {}", mark.env(), quoted.collect::<Vec<_>>().join(" "))
}

fn make_key(file: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "throw-away", "-f"]).arg(file);
    assert!(command.status().expect("it comes with sshd").success());
}

fn descendants(of: i32) -> Vec<i32> {
    let mut found = vec![of];
    let mut next = 0;
    while next < found.len() {
        let children = format!("/proc/{0}/task/{0}/children", found[next]);
        found.extend(
            read(Path::new(&children)).split_whitespace().map(|pid| pid.parse::<i32>().unwrap()),
        );
        next += 1;
    }
    found.split_off(1)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
