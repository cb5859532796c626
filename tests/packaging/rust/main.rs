//! A Rust host: run a command through an exec-server.

use std::time::Duration;

use leash::{Connection, Event, Options, Protocol};

const START: &str = r#"{"processId":"p1","cwd":"file:///tmp","tty":false,"arg0":null,
    "env":{"PATH":"/usr/bin:/bin"},"argv":["sh","-c","echo line 1; exit 3"]}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = Duration::from_secs(10);
    let options = Options::new().protocol(Protocol::Bare);
    let server = Connection::launch(std::env::args().skip(1), &options, limit)?;
    server.call("initialize", r#"{"clientName":"host"}"#, limit)?;
    server.notify("initialized", None)?;
    server.call("process/start", START, limit)?;
    for event in server.events() {
        let Event::Notification(note) = event? else { continue };
        println!("{} {}", note.method(), note.params().unwrap_or_default());
        if note.method() == "process/closed" {
            break;
        }
    }
    server.close(limit)?;
    Ok(())
}
