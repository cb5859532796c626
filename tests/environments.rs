//! codex's environments.toml: which files are valid, what is said of the others,
//! and what connecting by name does.

mod harness;
#[path = "environments/table.rs"]
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Mark, Peer, c_programs, example, misbehave, peer, scenario, work};
use leash::connection::{Connection, TextField};
use leash::environments::Environments;
use leash::options::{IntKey, ListKey, Options};
use proptest::prelude::*;
use table::{Codex, FILES};

const PATH: &str = "/home/u/.codex/environments.toml";

#[test]
fn every_file_of_the_table_gives_its_list_or_its_error() {
    assert!(FILES.len() >= 40, "{}", FILES.len());
    let mut wrong = String::new();
    for row in FILES {
        let seen = Environments::parse(row.text, PATH).map(|found| found.list());
        let seen = seen.map_err(|error| error.text().to_owned());
        let wanted = row.ours.map(str::to_owned).map_err(|end| format!("{PATH:?}{end}"));
        if seen != wanted {
            wrong += &format!("{}:\n  {seen:?}\nnot\n  {wanted:?}\n", row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_error_of_the_table_tells_a_value() {
    for row in FILES {
        let text = match Environments::parse(row.text, PATH) {
            Ok(found) => found.list() + &format!("{found:?}"),
            Err(error) => format!("{error:?}"),
        };
        assert!(!text.contains("hunter2"), "{}: {text}", row.name);
    }
}

/// codex reads the file when its app-server starts, and ends at end-of-file.
#[test]
fn codex_says_the_same_of_every_file() {
    let Some(codex) = peer("codex") else { return };
    let file = codex.folder.join("environments.toml");
    let mut wrong = String::new();
    for row in FILES {
        fs::write(&file, row.text).unwrap();
        let mut child = Command::new(codex.program())
            .arg("app-server")
            .env("CODEX_HOME", &codex.folder)
            .env_remove("CODEX_EXEC_SERVER_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        let accepts = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.success(),
                None if Instant::now() > patience => {
                    let _ = child.kill();
                    panic!("{}: codex does not end", row.name);
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let wanted = row.codex == Codex::Accepts || row.ours.is_ok();
        if accepts != wanted {
            let verb = if accepts { "accepts" } else { "refuses" };
            wrong += &format!("{}: codex {verb} it\n", row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

// ---- Connecting, as a C host does it

/// A folder with files of environments, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = work().join(format!("environments-{}", Mark::new().value()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        Self(folder)
    }

    /// The path of the file, for a scenario.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The servers of the scenarios.
fn servers(folder: &Folder) -> String {
    let demo = example("demo_server");
    let misbehave = &misbehave(&[])[0];
    let text = format!(
        r#"
default = "demo"

[[environments]]
id = "demo"
program = {demo:?}

[[environments]]
id = "seen"
program = {misbehave:?}
args = [
  """sh:printf '{{"method":"seen","params":["%s","%s","%s"]}}\\n' "$GREETING" "${{PWD##*/}}" "$OTHER" """,
  "echo-loop",
]
cwd = "sub"
env = {{ GREETING = "hello" }}

[[environments]]
id = "where"
program = {misbehave:?}
args = ["""sh:printf '{{"method":"seen","params":["%s"]}}\\n' "$PWD" """, "echo-loop"]

[[environments]]
id = "away"
url = "ws://127.0.0.1:9/hunter2?token=hunter2"
connect_timeout_sec = 1.5

[[environments]]
id = "missing"
program = "/nonexistent/hunter2/server"
args = ["hunter2"]
env = {{ TOKEN = "hunter2" }}

[[environments]]
id = "nowhere"
program = {demo:?}
cwd = "hunter2"
"#
    );
    folder.file("environments.toml", &text)
}

#[track_caller]
fn run(name: &str) {
    let folder = Folder::new();
    scenario("environments", name, &[servers(&folder)]);
}

#[test]
fn without_a_name_it_is_the_default() {
    run("the_default_is_a_server");
}

#[test]
fn a_name_is_enough() {
    run("a_server_by_its_name");
}

#[test]
fn a_server_gets_the_files_env_and_cwd() {
    run("env_and_cwd_are_the_files");
}

#[test]
fn a_relative_cwd_is_relative_to_the_file() {
    run("cwd_is_relative_to_the_file");
}

#[test]
fn what_the_file_does_not_say_the_options_may() {
    run("opts_give_the_rest");
}

#[test]
fn what_the_file_says_the_options_may_not() {
    run("opts_may_not_give_the_same");
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    run("what_cannot_be_connected_to_is_told");
}

#[test]
fn a_url_is_dialled() {
    run("a_url_is_dialled");
}

#[test]
fn a_file_may_have_no_default() {
    let folder = Folder::new();
    let none = folder.file("none", "default = \"none\"\n");
    let disabled = folder.file("disabled", "include_local = false\n");
    let local = folder.file("local", "");
    scenario("environments", "the_default_may_be_nobody", &[none, disabled, local]);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    for program in c_programs("environments") {
        let folder = Folder::new();
        let out = program.arg("what_is_no_file_is_told").arg(&folder.0).run();
        out.assert_success();
    }
}

#[test]
fn a_list_fills_the_hosts_buffer() {
    let folder = Folder::new();
    let text = r#"
default = "a"
[[environments]]
id = "b"
url = "ws://hunter2"
connect_timeout_sec = 2.5
[[environments]]
id = "a"
program = "hunter2"
initialize_timeout_sec = 3
"#;
    scenario("environments", "a_list_fills_the_buffer", &[folder.file("two", text)]);
}

#[test]
fn without_a_file_it_is_the_variable() {
    scenario("environments", "without_a_file_there_is_a_variable", &[]);
}

#[test]
fn a_named_codex_answers() {
    let Some(codex) = peer("codex") else { return };
    let folder = Folder::new();
    let path = folder.file("environments.toml", &named_codex(&codex));
    let connection = Connection::open_environment(Some(&path), None, &bare(), None).unwrap();
    let limit = Some(Duration::from_secs(20));
    let answer = connection.call("initialize", Some(br#"{"clientName":"test"}"#), limit).unwrap();
    let answer = answer.text(TextField::Json).unwrap();
    let text = String::from_utf8_lossy(answer.bytes());
    assert!(text.contains("executorVersion"), "{text}");
}

/// codex's app-server starts the default environment of its file with a thread.
#[test]
fn codex_starts_the_same_server_in_the_same_place() {
    let Some(codex) = peer("codex") else { return };
    let path = codex.folder.join("environments.toml").into_os_string().into_string().unwrap();
    fs::create_dir(codex.folder.join("sub")).unwrap();
    let seen = codex.folder.join("seen");
    let look = format!(
        "{{ pwd; echo $GREETING; echo $INHERITED; }} > {seen:?}.new; mv {seen:?}.new {seen:?}"
    );
    let text = named_codex(&codex)
        .replace(
            "args = [",
            &format!("args = [\"-c\", '{look}; exec \"$@\"', \"sh\", {:?}, ", codex.program()),
        )
        .replace(&format!("program = {:?}", codex.program()), "program = \" sh \"")
        .replace("env = {", "cwd = \"sub\"\nenv = { GREETING = \"hello\",");
    fs::write(&path, text).unwrap();
    let found = || {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            match fs::read_to_string(&seen) {
                Ok(text) => break text,
                Err(_) => assert!(Instant::now() < patience, "nothing was started"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };

    let mut options = bare();
    options.set_list(ListKey::Env, &["INHERITED=yes"]).unwrap();
    let server = Connection::open_environment(Some(&path), None, &options, None).unwrap();
    let ours = found();
    drop(server);
    assert_eq!(ours, format!("{}/sub\nhello\nyes\n", codex.folder.display()));

    fs::remove_file(&seen).unwrap();
    let home = format!("CODEX_HOME={}", codex.folder.display());
    options.set_list(ListKey::Env, &[&home, "INHERITED=yes"]).unwrap();
    let server = Connection::launch(&[codex.program(), "app-server"], &options, None).unwrap();
    let limit = Some(Duration::from_secs(60));
    let client = br#"{"clientInfo":{"name":"test","version":"1"}}"#;
    server.call("initialize", Some(client), limit).unwrap();
    server.notify("initialized", None).unwrap();
    server.call("thread/start", Some(b"{}"), limit).unwrap();
    assert_eq!(found(), ours);
}

fn bare() -> Options {
    let mut options = Options::default();
    options.set_int(IntKey::Protocol, 4).unwrap();
    options
}

fn named_codex(codex: &Peer) -> String {
    let (program, home) = (codex.program(), codex.folder.to_str().unwrap());
    format!(
        "default = \"codex\"\n[[environments]]\nid = \"codex\"\nprogram = {program:?}\n\
         args = [\"exec-server\", \"--listen\", \"stdio\"]\nenv = {{ CODEX_HOME = {home:?} }}\n"
    )
}

// ---- Secrets

/// Values of every type, right and wrong, with a secret in each that can hold one.
fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "\"SECRET\"",
        "'SECRET\u{e4}'",
        "\"SECRET\\u0000\"",
        "\"ws://SECRET\"",
        "\"ws://h/?SECRET=SECRET\"",
        "\"ws://u:SECRET@h<\"",
        "\"http://SECRET\"",
        "[\"SECRET\"]",
        "[\"SECRET\", 1]",
        "[[\"SECRET\"]]",
        "{ TOKEN = \"SECRET\" }",
        "{ TOKEN = [\"SECRET\"] }",
        "{ \"A=SECRET\" = \"SECRET\" }",
        "\"\"\"\nSECRET\n\"\"\"",
        "true",
        "5",
        "-5",
        "2026-01-01",
    ])
    .prop_map(str::to_owned)
}

fn file() -> impl Strategy<Value = String> {
    let keys = ["url", "program", "args", "env", "cwd", "connect_timeout_sec", "auth_bearer_token"];
    let line = (prop::sample::select(keys.to_vec()), value());
    let environment = prop::collection::vec(line, 1..5);
    prop::collection::vec(environment, 1..3).prop_map(|environments| {
        let mut text = String::new();
        for (n, lines) in environments.iter().enumerate() {
            text += &format!("[[environments]]\nid = \"e{n}\"\n");
            for (key, value) in lines {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    })
}

fn tells_nothing(text: &str, secret: &str) -> Result<(), TestCaseError> {
    let told = match Environments::parse(text, PATH) {
        Err(error) => format!("{error:?}"),
        Ok(found) => {
            let mut options = Options::default();
            options.set_list(ListKey::Env, &["TOKEN=x"]).unwrap();
            let plan = found.find(Some("e0")).and_then(|one| one.plan(&options));
            format!("{} {:?}", found.list(), plan.err())
        }
    };
    prop_assert!(!told.contains(secret), "{told}");
    Ok(())
}

proptest! {
    #[test]
    fn no_text_tells_a_value(text in file()) {
        tells_nothing(&text.replace("SECRET", "sk-hunter2"), "hunter2")?;
    }

    /// A slip of the keyboard may make an id or a key of anything, so that this
    /// secret is one that could not be either.
    #[test]
    fn no_text_of_a_damaged_file_tells_a_value(
        text in file(),
        from in any::<prop::sample::Index>(),
        count in 0..12_usize,
        inserted in prop::sample::select(vec!["", "\"", "'", "[", "]", "=", "\n", "{", "}", ",", "\\", "#"]),
    ) {
        let text = text.replace("SECRET", "sk/hunter2/x");
        let mut chars: Vec<char> = text.chars().collect();
        let from = from.index(chars.len());
        let to = (from + count).min(chars.len());
        chars.splice(from..to, inserted.chars());
        tells_nothing(&chars.iter().collect::<String>(), "/hunter2/")?;
    }
}
