//! A WebSocket server that does what its command line says, and mostly nothing
//! good: [`misbehave`](misbehave.rs) for connections by TCP.
//!
//! ```text
//! misbehave_ws upgrade request 'reply:{"ok":true}' never-read
//! ```
//!
//! It prints its URL and listens at a free port of 127.0.0.1. Each connection
//! runs the script anew, in a thread. Behind the last step it answers pings and
//! a Close, as an obeying server does. A script that makes no sense ends the
//! process with status 64.
//!
//! | step | what it does |
//! |---|---|
//! | `head` | read the request for the upgrade, and print it, each line after `> ` |
//! | `upgrade` | read that request and accept it; `upgrade:NAME: VALUE` with one more header |
//! | `status:CODE` | read that request and refuse it; `status:CODE:NAME: VALUE` |
//! | `raw:TEXT` | bytes; `\n`, `\r`, `\\` and `\xNN` are escapes |
//! | `text:TEXT` | a text message |
//! | `binary:BYTES` | a binary message of that size |
//! | `pieces:N:TEXT` | a text message in N frames |
//! | `request` | read messages until one is a request; others are passed over |
//! | `reply:JSON` | answer the last request with this result |
//! | `measure` | answer the last request with its frames and bytes |
//! | `big:BYTES` | answer the last request with a string that long, in one frame |
//! | `claim:BYTES` | begin a text frame of that size, and send ten bytes of it |
//! | `echo-loop` | answer every request with its params; pings and a Close as well |
//! | `deaf-loop` | the same, but neither pings nor a Close |
//! | `flood:N:BYTES` | N notifications `flood` of that size, as fast as possible |
//! | `ping` | a ping, and wait for its pong |
//! | `ping-flood:N` | N pings, as fast as possible |
//! | `close:CODE` | a Close, and wait for the client's |
//! | `never-read`, `stall` | nothing more, for ever |
//! | `cut` | close the connection after its first n bytes from here on, n being 0 for the first connection that comes to this, 1 for the next, and so on |
//! | `sleep:MS` | wait |
//! | `fin` | close the connection |
//! | `rst` | reset it |
//! | `exec:PROGRAM` | start a server that speaks lines on stdio, with the rest of the command line as its arguments, and carry messages both ways |

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[path = "shared/json.rs"]
mod json;
use json::Message;

fn main() {
    let script: Vec<String> = env::args().skip(1).collect();
    if script.is_empty() {
        usage("no script");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    println!("ws://{}", listener.local_addr().expect("bound"));
    for stream in listener.incoming().flatten() {
        let script = script.clone();
        thread::spawn(move || {
            let mut client = Client::new(stream);
            for (index, step) in script.iter().enumerate() {
                if let Some(program) = step.strip_prefix("exec:") {
                    return client.exec(program, &script[index + 1..]);
                }
                if client.step(step).is_err() {
                    return;
                }
            }
            let _ = client.obey(|_| Ok(()));
        });
    }
}

/// How many connections were cut.
static CUTS: AtomicUsize = AtomicUsize::new(0);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// One connection.
struct Client {
    input: BufReader<TcpStream>,
    output: Arc<Mutex<TcpStream>>,
    /// The last request: raw id, and params or null.
    request: (String, String),
    /// Of the last message.
    frames: usize,
    bytes: usize,
    is_deaf: bool,
    /// How many more bytes the server may send.
    left: Option<usize>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let input = BufReader::new(stream.try_clone().expect("a descriptor"));
        let output = Arc::new(Mutex::new(stream));
        let request = ("null".into(), "null".into());
        Self { input, output, request, frames: 0, bytes: 0, is_deaf: false, left: None }
    }

    fn step(&mut self, step: &str) -> io::Result<()> {
        let (name, rest) = step.split_once(':').unwrap_or((step, ""));
        let (head, tail) = rest.split_once(':').unwrap_or((rest, ""));
        match name {
            "head" => self.head()?.iter().for_each(|line| println!("> {line}")),
            "upgrade" => self.upgrade(rest)?,
            "status" => {
                self.head()?;
                let extra = if tail.is_empty() { String::new() } else { format!("{tail}\r\n") };
                let answer =
                    format!("HTTP/1.1 {head} Whatever\r\n{extra}Content-Length: 0\r\n\r\n");
                self.write(answer.as_bytes())?;
            }
            "raw" => self.write(&unescape(rest))?,
            "text" => self.send(FIN | TEXT, rest.as_bytes())?,
            "binary" => self.send(FIN | BINARY, &vec![0xFF; number(rest)])?,
            "pieces" => self.pieces(number(head).max(1), tail.as_bytes())?,
            "request" => self.next_request()?,
            "reply" => self.reply(rest)?,
            "measure" => {
                self.reply(&format!(r#"{{"frames":{},"bytes":{}}}"#, self.frames, self.bytes))?;
            }
            "big" => self.reply(&format!("{:?}", "x".repeat(number(rest))))?,
            "claim" => {
                let mut frame = vec![FIN | TEXT, 127];
                frame.extend((number(rest) as u64).to_be_bytes());
                frame.extend([b' '; 10]);
                self.write(&frame)?;
            }
            "echo-loop" => self.echo_loop()?,
            "deaf-loop" => {
                self.is_deaf = true;
                self.echo_loop()?;
            }
            "flood" => self.flood(number(head), tail.parse().unwrap_or(0))?,
            "ping" => {
                self.send(FIN | PING, b"!")?;
                while self.read_frame()?.0 & 15 != PONG {}
            }
            "ping-flood" => (0..number(rest)).try_for_each(|_| self.send(FIN | PING, b"?"))?,
            "close" => {
                self.send(FIN | CLOSE, &(number(rest) as u16).to_be_bytes())?;
                while self.read_frame()?.0 & 15 != CLOSE {}
            }
            "never-read" | "stall" => loop {
                thread::park();
            },
            "cut" => self.left = Some(CUTS.fetch_add(1, Ordering::Relaxed)),
            "sleep" => thread::sleep(Duration::from_millis(number(rest) as u64)),
            "fin" => return Err(io::ErrorKind::ConnectionAborted.into()),
            "rst" => {
                let output = self.output.lock().expect("no holder panics");
                socket2::SockRef::from(&*output).set_linger(Some(Duration::ZERO))?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            _ => usage(&format!("no step {name:?}")),
        }
        Ok(())
    }

    /// The lines of the request for the upgrade.
    fn head(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => return Ok(lines),
                line => lines.push(line.to_owned()),
            }
        }
    }

    fn upgrade(&mut self, extra: &str) -> io::Result<()> {
        let head = self.head()?;
        let key = head.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
        let extra = if extra.is_empty() { String::new() } else { format!("{extra}\r\n") };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
        );
        self.write(answer.as_bytes())
    }

    fn next_request(&mut self) -> io::Result<()> {
        loop {
            let message = self.recv()?;
            if let Ok(Message { method: Some(_), id: Some(id), params, .. }) =
                Message::parse(&message)
            {
                self.request = (id.to_owned(), params.unwrap_or("null").to_owned());
                return Ok(());
            }
        }
    }

    fn reply(&mut self, result: &str) -> io::Result<()> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.request.0);
        self.send(FIN | TEXT, text.as_bytes())
    }

    fn echo_loop(&mut self) -> io::Result<()> {
        loop {
            self.next_request()?;
            let params = self.request.1.clone();
            self.reply(&params)?;
        }
    }

    fn pieces(&mut self, pieces: usize, text: &[u8]) -> io::Result<()> {
        let mut parts = text.chunks(text.len().div_ceil(pieces).max(1)).peekable();
        let mut opcode = TEXT;
        while let Some(part) = parts.next() {
            self.send(if parts.peek().is_none() { FIN | opcode } else { opcode }, part)?;
            opcode = 0;
        }
        Ok(())
    }

    fn flood(&mut self, count: usize, bytes: usize) -> io::Result<()> {
        let filler = "x".repeat(bytes);
        for n in 0..count {
            let text = format!(r#"{{"method":"flood","params":{{"n":{n},"x":"{filler}"}}}}"#);
            self.send(FIN | TEXT, text.as_bytes())?;
        }
        Ok(())
    }

    /// Answer what the protocol wants answered, and give messages to `visit`.
    fn obey(&mut self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            visit(&self.recv()?)?;
        }
    }

    /// The next message; an error at the end.
    fn recv(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        self.frames = 0;
        loop {
            let (first, payload) = self.read_frame()?;
            match first & 15 {
                PING if !self.is_deaf => self.send(FIN | PONG, &payload)?,
                CLOSE if !self.is_deaf => {
                    self.send(FIN | CLOSE, &payload)?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                PING | PONG | CLOSE => {}
                _ => {
                    message.extend(payload);
                    self.frames += 1;
                    if first & FIN != 0 {
                        self.bytes = message.len();
                        return Ok(message);
                    }
                }
            }
        }
    }

    /// The first byte of a frame, and its payload.
    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.input.read_exact(&mut start)?;
        let length = match start[1] & 127 {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        let mask: [u8; 4] = self.bytes()?;
        let mut payload = vec![0; length as usize];
        self.input.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Ok((start[0], payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(first, payload))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = self.left.map_or(bytes.len(), |left| left.min(bytes.len()));
        self.output.lock().expect("no holder panics").write_all(&bytes[..length])?;
        if let Some(left) = &mut self.left {
            *left -= length;
            if *left == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    /// Stand between the client and a server on stdio.
    fn exec(mut self, program: &str, arguments: &[String]) {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| usage(&format!("{program}: {e}")));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let output = Arc::clone(&self.output);
        let answers = thread::spawn(move || {
            let mut lines = BufReader::new(stdout.expect("piped"));
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                if send(&output, FIN | TEXT, line.strip_suffix(b"\n").unwrap_or(&line)).is_err() {
                    break;
                }
                line.clear();
            }
            let _ = send(&output, FIN | CLOSE, &1000u16.to_be_bytes());
        });
        let mut stdin = stdin.expect("piped");
        let _ = self.obey(|message| stdin.write_all(&[message, b"\n"].concat()));
        drop(stdin);
        let _ = answers.join();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn send(output: &Mutex<TcpStream>, first: u8, payload: &[u8]) -> io::Result<()> {
    output.lock().expect("no holder panics").write_all(&frame(first, payload))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(length as u8),
        length @ ..=0xFFFF => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'n', tail @ ..]) => (rest, _) = (tail, bytes.push(b'\n')),
            (b'\\', [b'r', tail @ ..]) => (rest, _) = (tail, bytes.push(b'\r')),
            (b'\\', [b'\\', tail @ ..]) => (rest, _) = (tail, bytes.push(b'\\')),
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).unwrap_or("");
                let byte = u8::from_str_radix(digits, 16);
                (rest, _) = (tail, bytes.push(byte.unwrap_or_else(|_| usage("bad \\x"))));
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| usage(&format!("{text:?} is no number")))
}

fn usage(problem: &str) -> ! {
    eprintln!("misbehave_ws: {problem}; see the table in examples/misbehave_ws.rs");
    process::exit(64);
}
