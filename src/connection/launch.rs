//! From argv and options to a running connection.

use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;

use super::drive::Driver;
use super::lead::Input;
use super::outbox;
use super::shared::Shared;
use crate::error::{Code, Error, Result};
use crate::framing::Decoder;
use crate::options::Options;
use crate::process::{self, Command, Pipes, Report, Server};
use crate::runtime;
use crate::sys;
use crate::sys::io::wait_readable;
use crate::sys::park::Bell;
use crate::trace::Trace;
use crate::transport::stdio::{Lines, Reader, Sink};

/// Launch `argv`, and let the runtime look after it.
pub(super) fn launch(argv: &[&str], options: &Options) -> Result<Arc<Shared>> {
    let command = command(argv, options)?;
    let runtime = runtime::get()?;
    let ready = Bell::new().map_err(|e| no_descriptor(&e))?;
    let (server, pipes) = process::launch(&command)?;
    let Pipes { stdin, stdout, stderr } = pipes;

    let _context = runtime.handle().enter();
    let sink = outbox::Sink::Pipe(Sink::new(stdin));
    let trace = Trace::from_environment(&label(argv[0]));
    let decoder = Decoder::new(options.protocol.framing(), options.max_message);
    let reader = Reader::new(Arc::new(stdout), decoder, trace.clone());
    let shared = Arc::new(Shared::new(options, trace, sink, ready));
    let watch = || -> io::Result<_> {
        let interest = runtime.register(reader.descriptor(), Arc::downgrade(&shared) as _)?;
        let stderr = stderr.map(Lines::new).transpose()?;
        let reports = sys::watch(server.descriptor(), Interest::READABLE)?;
        Ok((interest, stderr, reports))
    };
    let (interest, stderr, reports) = match watch() {
        Ok(watched) => watched,
        Err(e) => return Err(abort(server, &e)),
    };
    shared.state().reading.begin(Input::new(reader, interest));
    let graces = options.exit_after + options.kill_after;
    let driver = Driver::new(&shared, label(argv[0]), server, reports, stderr, graces);
    runtime.handle().spawn(driver.run());
    Ok(shared)
}

/// What to launch: argv, and the environment as it is now.
fn command(argv: &[&str], options: &Options) -> Result<Command> {
    let invalid = |text| Error::new(Code::Invalid, text);
    if argv.is_empty() {
        return Err(invalid("argv is empty; its first item is the program"));
    }
    if argv[0].is_empty() {
        return Err(invalid("argv[0] is empty; it is the program"));
    }
    let text = |text: &str| CString::new(text).map_err(|_| invalid("argv contains a NUL"));
    Ok(Command {
        argv: argv.iter().map(|item| text(item)).collect::<Result<_>>()?,
        env: environment(options),
        cwd: options.cwd.as_deref().map(text).transpose()?,
        stderr: options.stderr,
        exit_after: options.exit_after,
        kill_after: options.kill_after,
    })
}

/// The host's environment with the options' changes.
fn environment(options: &Options) -> Vec<CString> {
    let inherited = if options.env_clear { None } else { Some(env::vars_os()) };
    let mut lines: Vec<Vec<u8>> = inherited.into_iter().flatten().map(line).collect();
    for change in &options.env {
        let name = change.split('=').next().unwrap_or_default();
        lines.retain(|line| !is_of(line, name));
        if change.len() > name.len() {
            lines.push(change.as_bytes().to_vec());
        }
    }
    // A NUL cannot come from the system, and options refuse it.
    lines.into_iter().filter_map(|line| CString::new(line).ok()).collect()
}

fn line((name, value): (OsString, OsString)) -> Vec<u8> {
    let (mut line, value) = (name.into_vec(), value.into_vec());
    // One more for the NUL.
    line.reserve_exact(value.len() + 2);
    line.push(b'=');
    line.extend(value);
    line
}

/// Whether a line of an environment sets the variable `name`.
fn is_of(line: &[u8], name: &str) -> bool {
    line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
}

/// What texts may call a server: the program's last name, nothing of its path
/// or arguments.
fn label(program: &str) -> String {
    let name = Path::new(program).file_name().unwrap_or_default();
    format!("{:?}", name.to_string_lossy())
}

/// The runtime cannot take the server: end it, and wait until it has ended.
fn abort(mut server: Server, e: &io::Error) -> Error {
    server.kill();
    let patience = Instant::now() + Duration::from_secs(1);
    loop {
        match server.next_report() {
            Some(Report::Failed(_) | Report::Gone(_) | Report::Lost) => break,
            Some(Report::Started { .. } | Report::Exited(_)) => {}
            None if Instant::now() >= patience => break,
            None => drop(wait_readable([Some(server.as_fd())], Some(patience))),
        }
    }
    no_descriptor(e)
}

/// What a connection cannot be without.
pub(super) fn no_descriptor(e: &io::Error) -> Error {
    Error::os(Code::Connect, "cannot get a descriptor for the connection", e)
}
