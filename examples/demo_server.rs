//! A server to try libleash against: an exec-server in small. It speaks
//! newline-delimited JSON-RPC over stdio, needs no network and no install.
//!
//! | method | params | answer |
//! |---|---|---|
//! | `initialize` | `{clientName}` | `{sessionId, environmentInfo}` |
//! | `initialized` | a notification | |
//! | `process/start` | `{processId, argv, cwd, env, tty, arg0}` | `{processId}`, and notifications |
//! | `process/write` | `{processId, chunk}`, chunk in base64 | `{status}` |
//! | `process/terminate` | `{processId}` | `{running}` |
//! | `echo` | anything | the params, byte for byte |
//! | `ask` | anything | what the client replied to the request `demo/question` |
//!
//! A process makes notifications: `process/output` `{processId, seq, stream,
//! chunk}` as it prints, `process/exited` `{processId, seq, exitCode}`, and
//! `process/closed` `{processId, seq}` when its output has ended too. Names are
//! those of `codex exec-server`, so that one client can drive both.
//!
//! A message with a "jsonrpc" member is answered with one, a message without it
//! without.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

#[path = "shared/json.rs"]
mod json;
use json::{Bad, Message};

fn main() {
    let mut server = Server::default();
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    // Lines end in 0x0A only: U+2028 and a lone CR are ordinary text.
    while matches!(input.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        server.receive(line.trim_ascii());
        line.clear();
    }
    server.stop_all();
}

/// With or without the "jsonrpc" member.
#[derive(Clone, Copy, Default)]
struct Flavour {
    bare: bool,
}

impl Flavour {
    fn send(self, members: &str) {
        let head = if self.bare { "" } else { r#""jsonrpc":"2.0","# };
        // A client that is gone is no reason to panic: end-of-file on stdin
        // will end this process.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{{{head}{members}}}").and_then(|()| out.flush());
    }

    fn answer(self, id: &str, result: &str) {
        self.send(&format!(r#""id":{id},"result":{result}"#));
    }

    fn refuse(self, id: &str, code: i32, message: &str) {
        let error = json!({"code": code, "message": message});
        self.send(&format!(r#""id":{id},"error":{error}"#));
    }

    fn notify(self, method: &str, params: &Value) {
        self.send(&format!(r#""method":"{method}","params":{params}"#));
    }
}

#[derive(Default)]
struct Server {
    /// Of the last message: what cannot be parsed is answered alike.
    flavour: Flavour,
    processes: HashMap<String, Process>,
    /// Raw ids of the `ask` calls, by the number of our question.
    asked: HashMap<u64, String>,
    questions: u64,
}

struct Process {
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
}

type Refusal = (i32, String);

impl Server {
    fn receive(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(Bad::Json) => return self.flavour.refuse("null", -32700, "Parse error"),
            Err(Bad::Message) => return self.flavour.refuse("null", -32600, "Invalid Request"),
        };
        self.flavour = Flavour { bare: !message.jsonrpc };
        match (&message.method, message.id) {
            (Some(method), Some(id)) => {
                let params = message.params.unwrap_or("null");
                match self.call(method, id, params) {
                    Ok(Some(result)) => self.flavour.answer(id, &result),
                    Ok(None) => {}
                    Err((code, text)) => self.flavour.refuse(id, code, &text),
                }
            }
            (Some(_notification), None) => {}
            (None, Some(id)) => self.replied(id, &message),
            (None, None) => self.flavour.refuse("null", -32600, "Invalid Request"),
        }
    }

    /// The result, or nothing when it will come later.
    fn call(&mut self, method: &str, id: &str, params: &str) -> Result<Option<String>, Refusal> {
        if method == "echo" {
            return Ok(Some(params.to_owned()));
        }
        let value = || -> Result<Value, Refusal> {
            serde_json::from_str(params).map_err(|e| (-32602, e.to_string()))
        };
        let result = match method {
            "initialize" => {
                let version = env!("CARGO_PKG_VERSION");
                json!({"sessionId": format!("demo-{}", std::process::id()),
                       "environmentInfo": {"executorVersion": version}})
            }
            "process/start" => self.start(&value()?)?,
            "process/write" => self.write(&value()?)?,
            "process/terminate" => self.terminate(&value()?)?,
            "ask" => {
                let question = self.questions;
                self.questions += 1;
                self.asked.insert(question, id.to_owned());
                self.flavour.send(&format!(
                    r#""id":{question},"method":"demo/question","params":{params}"#
                ));
                return Ok(None);
            }
            _ => return Err((-32601, format!("Method not found: {method}"))),
        };
        Ok(Some(result.to_string()))
    }

    /// The client's answer to a question of ours becomes the answer to `ask`.
    fn replied(&mut self, id: &str, message: &Message<'_>) {
        let Some(asker) = id.parse().ok().and_then(|question| self.asked.remove(&question)) else {
            return;
        };
        match message.error {
            Some(error) => self.flavour.send(&format!(r#""id":{asker},"error":{error}"#)),
            None => self.flavour.answer(&asker, message.result.unwrap_or("null")),
        }
    }

    fn start(&mut self, params: &Value) -> Result<Value, Refusal> {
        let name = text(params, "processId")?;
        let argv: Vec<&str> = params["argv"]
            .as_array()
            .map(|argv| argv.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let [program, arguments @ ..] = argv.as_slice() else {
            return Err((-32602, "argv: want a list of at least one string".into()));
        };
        if self.processes.contains_key(name) {
            return Err((-32602, format!("processId: {name} is taken")));
        }

        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(arg0) = params["arg0"].as_str() {
            command.arg0(arg0);
        }
        if let Some(uri) = params["cwd"].as_str() {
            command.current_dir(path(uri)?);
        }
        if let Some(env) = params["env"].as_object() {
            command.env_clear();
            command.envs(env.iter().filter_map(|(k, v)| Some((k, v.as_str()?))));
        }
        let mut child = command.spawn().map_err(|e| (-32000, format!("cannot start: {e}")))?;

        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        let told = Told {
            flavour: self.flavour,
            process: name.to_owned(),
            seq: Mutex::new(0),
            child: Arc::clone(&child),
        };
        thread::spawn(move || {
            thread::scope(|scope| {
                scope.spawn(|| told.output("stdout", stdout));
                scope.spawn(|| told.output("stderr", stderr));
                told.exit();
            });
            told.tell("process/closed", json!({}));
        });
        self.processes.insert(name.to_owned(), Process { child, stdin });
        Ok(json!({"processId": name}))
    }

    fn write(&mut self, params: &Value) -> Result<Value, Refusal> {
        let chunk = base64_decode(text(params, "chunk")?)
            .ok_or_else(|| (-32602, "chunk: want base64".to_owned()))?;
        let process = self.process(params)?;
        let stdin = process.stdin.as_mut().ok_or_else(|| (-32000, "stdin is closed".to_owned()))?;
        stdin.write_all(&chunk).map_err(|e| (-32000, format!("cannot write: {e}")))?;
        Ok(json!({"status": "accepted"}))
    }

    fn terminate(&mut self, params: &Value) -> Result<Value, Refusal> {
        let child = Arc::clone(&self.process(params)?.child);
        let mut child = child.lock().expect("no holder panics");
        let running = matches!(child.try_wait(), Ok(None));
        let _ = child.kill();
        Ok(json!({"running": running}))
    }

    fn process(&mut self, params: &Value) -> Result<&mut Process, Refusal> {
        let name = text(params, "processId")?;
        self.processes.get_mut(name).ok_or_else(|| (-32602, format!("no process {name}")))
    }

    fn stop_all(&mut self) {
        for process in self.processes.values() {
            let _ = process.child.lock().expect("no holder panics").kill();
        }
    }
}

/// What the client is told about one process, numbered from 1.
struct Told {
    flavour: Flavour,
    process: String,
    seq: Mutex<u64>,
    child: Arc<Mutex<Child>>,
}

impl Told {
    fn output(&self, stream: &str, pipe: Option<impl Read>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; 8192];
        while let Ok(n @ 1..) = pipe.read(&mut chunk) {
            let chunk = base64_encode(&chunk[..n]);
            self.tell("process/output", json!({"stream": stream, "chunk": chunk}));
        }
    }

    fn exit(&self) {
        // `wait` would hold the lock that `process/terminate` needs.
        let status = loop {
            match self.child.lock().expect("no holder panics").try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break status,
                Err(_) => return,
            }
            thread::sleep(Duration::from_millis(2));
        };
        // Killed by a signal: what a shell would say.
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        self.tell("process/exited", json!({"exitCode": code}));
    }

    fn tell(&self, method: &str, mut params: Value) {
        params["processId"] = json!(self.process);
        // Held until it is written: numbers arrive in order.
        let mut seq = self.seq.lock().expect("no holder panics");
        *seq += 1;
        params["seq"] = json!(*seq);
        self.flavour.notify(method, &params);
    }
}

fn text<'a>(params: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    params[name].as_str().ok_or_else(|| (-32602, format!("{name}: want a string")))
}

/// The path in a file:// URI.
fn path(uri: &str) -> Result<String, Refusal> {
    let bad = || (-32602, "cwd: want a file:// URI".to_owned());
    let mut bytes = uri.strip_prefix("file://").ok_or_else(bad)?.bytes();
    let mut path = Vec::new();
    while let Some(byte) = bytes.next() {
        path.push(if byte == b'%' {
            let digits = [bytes.next().ok_or_else(bad)?, bytes.next().ok_or_else(bad)?];
            let digits = str::from_utf8(&digits).map_err(|_| bad())?;
            u8::from_str_radix(digits, 16).map_err(|_| bad())?
        } else {
            byte
        });
    }
    String::from_utf8(path).map_err(|_| bad())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i| u32::from(*group.get(i).unwrap_or(&0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = BASE64.iter().position(|&d| d == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
