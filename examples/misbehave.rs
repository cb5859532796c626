//! A server that does what its command line says, and mostly nothing good.
//!
//! ```text
//! misbehave noise recv 'reply:{"ok":true}' ignore-term sleep-forever
//! ```
//!
//! Steps run in order. After the last one the server reads stdin to its end
//! and exits with status 0, as an obeying server does. The loops end with
//! end-of-file; any other step that meets it, or a client that reads no more,
//! is the last. A script that makes no sense exits with status 64.
//!
//! | step | what it does |
//! |---|---|
//! | `recv` | read one message; `recv:N` reads N |
//! | `request` | read messages until one is a request; notifications are passed over |
//! | `reply:JSON` | answer the last request with this result |
//! | `error:CODE:TEXT` | answer the last request with this error |
//! | `send:JSON` | send this, framed |
//! | `notify:METHOD:JSON` | send a notification; without `:JSON` one without params |
//! | `ask:ID:METHOD` | a request to the client with this raw id; then wait, and tell what came: notifications `early` (params: the message) and `reply` (`{"result":..}` or `{"error":..}`) |
//! | `echo-loop` | answer every request with its params, until end-of-file |
//! | `count-loop` | read until end-of-file as fast as possible; answer only requests called `count`, with the number of messages so far |
//! | `ledger-loop` | keep a ledger until end-of-file: `work` with params `[n,..]` gets n numbered notifications `told` and then its params; `later` its params behind the next message; `crash` half an answer and SIGABRT; `count` `[requests, notifications, answers, told, disordered]`. Notifications of the client have params `[n]`, n from 0 |
//! | `shuffle:N` | collect N requests, answer them in reverse with their params |
//! | `flood:N` | N notifications `flood` `{"n":0}`, ... as fast as possible |
//! | `flood:N:BYTES` | the same, each with a string of that size |
//! | `big:BYTES` | answer the last request; the message is exactly that long |
//! | `endless:BYTES` | that many bytes of a line that never ends |
//! | `print:TEXT` | a line on stdout, whatever the framing |
//! | `noise` | three lines as launchers print them |
//! | `raw:TEXT` | bytes on stdout; `\n`, `\r`, `\\` and `\xNN` are escapes |
//! | `file:PATH` | the bytes of that file on stdout |
//! | `stderr:TEXT` | a line on stderr |
//! | `stderr-flood:N` | N numbered lines on stderr |
//! | `stderr-recv` | read one message and write it to stderr, as a line |
//! | `lsp` | from here on, Content-Length framing both ways |
//! | `byte-at-a-time` | from here on, every byte is a write of its own |
//! | `close-stdout`, `close-stdin`, `close-stderr` | close it and go on |
//! | `sh:COMMAND` | a shell with the server's stdin, stdout and stderr; waits for it, not for what it leaves: `sh:setsid sleep 300 &` |
//! | `ignore-term` | SIGTERM, SIGINT and SIGHUP do nothing from here on |
//! | `ignore-eof` | from here on, end-of-file on stdin is waited out for ever |
//! | `never-read`, `sleep-forever` | wait for ever and read nothing |
//! | `sleep:MS` | wait that long |
//! | `exit:N` | exit with this status, now |
//! | `abort` | die of SIGABRT, now |

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

#[path = "shared/json.rs"]
mod json;
use json::Message;

fn main() {
    let mut server = Server::new();
    for step in env::args().skip(1) {
        // End-of-file, or a client that reads no more: the script is over.
        if server.step(&step).is_err() {
            break;
        }
    }
    server.drain();
}

struct Server {
    /// Copies of 0 and 1, which are closed: `close-stdout` closes the last one.
    input: Option<BufReader<File>>,
    output: Option<File>,
    lsp: bool,
    byte_at_a_time: bool,
    ignore_eof: bool,
    /// The last request: raw id, and params or null.
    request: Option<(String, String)>,
}

impl Server {
    fn new() -> Self {
        let input = io::stdin().as_fd().try_clone_to_owned().expect("stdin is open");
        let output = io::stdout().as_fd().try_clone_to_owned().expect("stdout is open");
        for standard in [0, 1] {
            nix::unistd::close(standard).expect("open a line before");
        }
        Self {
            input: Some(BufReader::with_capacity(64 << 10, input.into())),
            output: Some(output.into()),
            lsp: false,
            byte_at_a_time: false,
            ignore_eof: false,
            request: None,
        }
    }

    fn step(&mut self, step: &str) -> io::Result<()> {
        let (name, rest) = step.split_once(':').unwrap_or((step, ""));
        let (head, tail) = rest.split_once(':').unwrap_or((rest, ""));
        match name {
            "recv" => (0..number(rest, 1)).try_for_each(|_| self.recv().map(drop))?,
            "request" => drop(self.next_request()?),
            "reply" => self.answer("result", rest)?,
            "error" => {
                let error = format!(r#"{{"code":{head},"message":{}}}"#, quoted(tail));
                self.answer("error", &error)?;
            }
            "send" => self.send(rest)?,
            "notify" => self.notify(head, tail)?,
            "ask" => self.ask(head, tail)?,
            "echo-loop" => {
                while let Ok((id, params)) = self.next_request() {
                    self.send(&answer(&id, "result", &params))?;
                }
            }
            "count-loop" => self.count_loop()?,
            "ledger-loop" => self.ledger_loop()?,
            "shuffle" => self.shuffle(number(rest, 0))?,
            "flood" => self.flood(number(head, 0), number(tail, 0))?,
            "big" => self.big(number(rest, 0))?,
            "endless" => self.fill(number(rest, 0))?,
            "print" => self.write(format!("{rest}\n").as_bytes())?,
            "noise" => self.write(NOISE.as_bytes())?,
            "raw" => self.write(&unescape(rest))?,
            "file" => {
                let bytes = std::fs::read(rest);
                self.write(&bytes.unwrap_or_else(|e| usage(&format!("{rest}: {e}"))))?;
            }
            "stderr" => io::stderr().write_all(format!("{rest}\n").as_bytes())?,
            "stderr-flood" => {
                let mut err = io::BufWriter::new(io::stderr());
                (0..number(rest, 0)).try_for_each(|n| writeln!(err, "line {n}"))?;
                err.flush()?;
            }
            "stderr-recv" => {
                let message = self.recv()?;
                io::stderr().write_all(&[&message[..], b"\n"].concat())?;
            }
            "lsp" => self.lsp = true,
            "byte-at-a-time" => self.byte_at_a_time = true,
            "close-stdout" => self.output = None,
            "close-stdin" => self.input = None,
            "close-stderr" => nix::unistd::close(2)?,
            "sh" => self.sh(rest)?,
            // Blocked is as good as ignored, and needs no handler.
            "ignore-term" => SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
                .thread_block()?,
            "ignore-eof" => self.ignore_eof = true,
            "never-read" | "sleep-forever" => forever(),
            "sleep" => thread::sleep(Duration::from_millis(number(rest, 0))),
            "exit" => process::exit(i32::try_from(number(rest, 0)).unwrap_or(1)),
            "abort" => process::abort(),
            _ => usage(&format!("no step {name:?}")),
        }
        Ok(())
    }

    /// The next message, without its framing; an error at end-of-file.
    fn recv(&mut self) -> io::Result<Vec<u8>> {
        let message = self.read()?;
        if let Ok(Message { method: Some(_), id: Some(id), params, .. }) = Message::parse(&message)
        {
            self.request = Some((id.to_owned(), params.unwrap_or("null").to_owned()));
        }
        Ok(message)
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let input = self.input.as_mut().ok_or_else(ended)?;
        let mut message = Vec::new();
        if self.lsp {
            let mut length = 0;
            loop {
                let mut header = String::new();
                if input.read_line(&mut header)? == 0 {
                    return Err(ended());
                }
                match header.trim_end().split_once(": ") {
                    Some(("Content-Length", value)) => length = number(value, 0),
                    Some(_) => {}
                    None => break,
                }
            }
            input.take(length).read_to_end(&mut message)?;
        } else {
            if input.read_until(b'\n', &mut message)? == 0 {
                return Err(ended());
            }
            message.truncate(message.trim_ascii_end().len());
        }
        Ok(message)
    }

    fn next_request(&mut self) -> io::Result<(String, String)> {
        self.request = None;
        loop {
            self.recv()?;
            if let Some(request) = &self.request {
                return Ok(request.clone());
            }
        }
    }

    fn ask(&mut self, id: &str, method: &str) -> io::Result<()> {
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}}}"#, quoted(method)))?;
        loop {
            let raw = self.recv()?;
            let reply = match Message::parse(&raw) {
                Ok(m) if m.method.is_none() && m.id == Some(id) => match (m.result, m.error) {
                    (Some(result), _) => Some(format!(r#"{{"result":{result}}}"#)),
                    (_, error) => Some(format!(r#"{{"error":{}}}"#, error.unwrap_or("null"))),
                },
                _ => None,
            };
            match reply {
                Some(reply) => return self.notify("reply", &reply),
                None => self.notify("early", &String::from_utf8_lossy(&raw))?,
            }
        }
    }

    fn count_loop(&mut self) -> io::Result<()> {
        let mut count = 0u64;
        while let Ok(raw) = self.read() {
            count += 1;
            // A short message, if it is the question: the rest is not parsed.
            if raw.len() < 200
                && let Ok(message) = Message::parse(&raw)
                && message.method.as_deref() == Some("count")
                && let Some(id) = message.id
            {
                self.send(&answer(id, "result", &count.to_string()))?;
            }
        }
        Ok(())
    }

    fn ledger_loop(&mut self) -> io::Result<()> {
        let (mut requests, mut heard, mut answers, mut told, mut disordered) = (0, 0, 0, 0, 0);
        let mut held: Option<(String, String)> = None;
        while let Ok(raw) = self.read() {
            let Ok(Message { method: Some(method), id, params, .. }) = Message::parse(&raw) else {
                continue;
            };
            let params = params.unwrap_or("null");
            let mut out = Vec::new();
            if let Some((id, params)) = held.take() {
                answers += 1;
                out.extend(self.framed(&answer(&id, "result", &params)));
            }
            let Some(id) = id else {
                disordered += u64::from(params != format!("[{heard}]"));
                heard += 1;
                self.write(&out)?;
                continue;
            };
            requests += 1;
            let result = match &*method {
                "later" => {
                    held = Some((id.to_owned(), params.to_owned()));
                    None
                }
                "crash" => {
                    self.write(&[&out[..], b"{\"id\":1,\"resu"].concat())?;
                    process::abort()
                }
                "count" => Some(format!("[{requests},{heard},{answers},{told},{disordered}]")),
                _ => {
                    let digits = params.trim_start_matches('[').split([',', ']']).next();
                    for _ in 0..number(digits.unwrap_or(""), 0) {
                        out.extend(self.framed(&notification("told", &format!("[{told}]"))));
                        told += 1;
                    }
                    Some(params.to_owned())
                }
            };
            if let Some(result) = result {
                answers += 1;
                out.extend(self.framed(&answer(id, "result", &result)));
            }
            self.write(&out)?;
        }
        Ok(())
    }

    fn shuffle(&mut self, n: u64) -> io::Result<()> {
        let requests = (0..n).map(|_| self.next_request()).collect::<io::Result<Vec<_>>>()?;
        requests.iter().rev().try_for_each(|(id, params)| self.send(&answer(id, "result", params)))
    }

    fn flood(&mut self, n: u64, padding: u64) -> io::Result<()> {
        let padding = match usize::try_from(padding) {
            Ok(1..) => format!(r#","padding":"{}""#, "x".repeat(padding as usize)),
            _ => String::new(),
        };
        let mut buffer = Vec::new();
        for n in 0..n {
            let params = format!(r#"{{"n":{n}{padding}}}"#);
            buffer.extend(self.framed(&notification("flood", &params)));
            if buffer.len() >= 64 << 10 {
                self.write(&buffer)?;
                buffer.clear();
            }
        }
        self.write(&buffer)
    }

    fn big(&mut self, bytes: u64) -> io::Result<()> {
        let (id, _) = self.request.clone().unwrap_or_else(|| usage("big before any request"));
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":""#);
        let tail = "\"}";
        let around = (head.len() + tail.len()) as u64;
        let filling = bytes.checked_sub(around).unwrap_or_else(|| usage("big: too small"));
        if self.lsp {
            self.write(format!("Content-Length: {bytes}\r\n\r\n").as_bytes())?;
        }
        self.write(head.as_bytes())?;
        self.fill(filling)?;
        self.write(tail.as_bytes())?;
        if self.lsp { Ok(()) } else { self.write(b"\n") }
    }

    fn fill(&mut self, mut bytes: u64) -> io::Result<()> {
        let chunk = [b'x'; 64 << 10];
        while bytes > 0 {
            let n = bytes.min(chunk.len() as u64);
            self.write(&chunk[..n as usize])?;
            bytes -= n;
        }
        Ok(())
    }

    fn sh(&mut self, command: &str) -> io::Result<()> {
        let mut sh = Command::new("sh");
        sh.args(["-c", command]);
        if let Some(input) = &self.input {
            sh.stdin(input.get_ref().try_clone()?);
        }
        if let Some(output) = &self.output {
            sh.stdout(output.try_clone()?);
        }
        sh.status().map(drop)
    }

    fn answer(&mut self, member: &str, value: &str) -> io::Result<()> {
        let (id, _) = self.request.clone().unwrap_or_else(|| usage("an answer before any request"));
        self.send(&answer(&id, member, value))
    }

    fn notify(&mut self, method: &str, params: &str) -> io::Result<()> {
        self.send(&notification(method, params))
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        self.write(&self.framed(message))
    }

    fn framed(&self, message: &str) -> Vec<u8> {
        match self.lsp {
            true => format!("Content-Length: {}\r\n\r\n{message}", message.len()).into_bytes(),
            false => format!("{message}\n").into_bytes(),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut output = self.output.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let step = if self.byte_at_a_time { 1 } else { bytes.len().max(1) };
        bytes.chunks(step).try_for_each(|chunk| output.write_all(chunk))
    }

    fn drain(&mut self) {
        if let Some(input) = &mut self.input {
            let _ = io::copy(input, &mut io::sink());
        }
        if self.ignore_eof {
            forever();
        }
    }
}

const NOISE: &str = "Need to install the following packages:\n\n\u{1b}[32m{not json}\u{1b}[0m\r\n";

fn answer(id: &str, member: &str, value: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#)
}

fn notification(method: &str, params: &str) -> String {
    let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
    format!(r#"{{"jsonrpc":"2.0","method":{}{params}}}"#, quoted(method))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap_or_else(|_| usage("raw: want \\xNN"))
                }
                _ => usage("raw: want \\n, \\r, \\\\ or \\xNN"),
            },
            byte => byte,
        });
    }
    bytes
}

fn number(text: &str, default: u64) -> u64 {
    match text {
        "" => default,
        _ => text.parse().unwrap_or_else(|_| usage(&format!("{text:?} is not a number"))),
    }
}

fn forever() -> ! {
    loop {
        thread::park();
    }
}

/// A script that is wrong must not look like a server that is.
fn usage(what: &str) -> ! {
    eprintln!("misbehave: {what}");
    process::exit(64)
}
