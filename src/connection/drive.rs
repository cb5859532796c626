//! The runtime's side of a connection: it writes what did not fit at once,
//! keeps deadlines, drains stderr, reads when no thread of the host does, and
//! sees the connection to its end.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;

use super::handover::StreamEnd;
use super::lead::Input;
use super::shared::{End, Life, Shared};
use crate::error::{Code, Error};
use crate::events::{Closed, Text};
use crate::process::{Adopted, Exit, Report, Server, Stage, Teardown};
use crate::sys::{self, Watched};
use crate::transport::stdio::{Filled, Lines};

/// After the end, what is already in the pipe is read for this long at most: a
/// helper of the server may hold the other end for hours.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the guard may need on top of the two graces.
const MARGIN: Duration = Duration::from_secs(1);

/// How long to wait between two steps of a sweep.
const SWEEP_EVERY: Duration = Duration::from_millis(10);

/// How much is read after the last process has gone. A pipe holds at most this.
const LEFTOVER_MAX: usize = 1 << 20;

pub(super) struct Driver {
    shared: Arc<Shared>,
    /// What texts call the server.
    label: String,
    server: Server,
    /// Readable when the guard has something to say; after its last word, when it has
    /// ended, if it is `adopted`.
    reports: Watched,
    /// A guard that has said its last word and is about to end, and whose zombie is this
    /// process's. Who drops it reaps it, unless somebody traces it: then a later end does.
    adopted: Option<Adopted>,
    stderr: Option<Lines>,
    /// Set while output waits for room in stdin.
    stdin: Option<Watched>,
    graces: Duration,
    /// Whether the guard has said that the server runs.
    is_started: bool,
    /// How the server itself ended, once it has.
    exit: Option<Exit>,
    cause: Option<Cause>,
    guard: Guard,
    /// The right to read, from the end on.
    input: Option<Box<Input>>,
    is_finished: bool,
}

/// Why a connection ends by itself.
enum Cause {
    NeverStarted(Error),
    Exit,
    StdoutEnded,
    StdinClosed,
    Broken(Error),
}

enum Guard {
    Watching,
    /// Its last word.
    Gone(Teardown),
    Lost,
}

/// What woke the runtime.
enum Happening {
    Kicked,
    Guard,
    Room,
    Errors,
    Time,
}

impl Driver {
    /// A driver of `server`.
    pub fn new(
        shared: &Arc<Shared>,
        label: String,
        server: Server,
        reports: Watched,
        stderr: Option<Lines>,
        graces: Duration,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            label,
            server,
            reports,
            adopted: None,
            stderr,
            stdin: None,
            graces,
            is_started: false,
            exit: None,
            cause: None,
            guard: Guard::Watching,
            input: None,
            is_finished: false,
        }
    }

    /// See the connection through its life.
    pub async fn run(mut self) {
        while self.cause.is_none() && !self.is_closing() {
            self.step(None).await;
        }
        self.hear_last_words().await;
        let end = self.end();
        let teardown = self.tear_down(&end).await;
        self.drain().await;
        self.finish(end, teardown);
    }

    /// Whether the host has begun the end.
    fn is_closing(&self) -> bool {
        matches!(self.shared.state().life, Life::Closing(_))
    }

    /// The connection has ended by itself: read what is already there, and
    /// learn how the server ended.
    async fn hear_last_words(&mut self) {
        self.shared.update(|state| self.shared.drain(state));
        let until = Instant::now() + LAST_WORDS;
        while self.may_say_more() && Instant::now() < until {
            self.step(Some(until)).await;
        }
        // On a busy machine the guard may need longer to say how it ended.
        let until = until + MARGIN;
        while self.may_say_more()
            && self.exit.is_none()
            && self.server.has_exited()
            && Instant::now() < until
        {
            self.step(Some(until)).await;
        }
    }

    fn may_say_more(&self) -> bool {
        let is_worth_it =
            matches!(self.cause, Some(Cause::Exit | Cause::StdoutEnded | Cause::StdinClosed));
        let is_complete = self.has_stdout_ended() && self.exit.is_some();
        is_worth_it && !is_complete && !self.is_closing() && matches!(self.guard, Guard::Watching)
    }

    /// Fix why it ends; the host's own close counts if it came first.
    fn end(&mut self) -> End {
        if let Some(error) = self.reason() {
            self.shared.begin_closing(End::Failed(error));
        }
        match &self.shared.state().life {
            Life::Closing(end) => end.clone(),
            _ => End::Abandoned,
        }
    }

    /// Why it ends by itself, as a sentence.
    fn reason(&self) -> Option<Error> {
        let label = &self.label;
        let closed = |text| Some(Error::new(Code::Closed, text));
        match (self.cause.as_ref()?, self.exit) {
            (Cause::NeverStarted(error) | Cause::Broken(error), _) => Some(error.clone()),
            (_, Some(Exit::Code(code))) => closed(format!("{label} exited with status {code}")),
            (_, Some(Exit::Signal(signal))) => {
                closed(format!("{label} was killed by {}", signal_name(signal)))
            }
            (Cause::StdinClosed, None) => closed(format!("{label} closed its stdin")),
            (Cause::Exit | Cause::StdoutEnded, None) => {
                closed(format!("{label} closed its stdout"))
            }
        }
    }

    /// Tear the server down: the guard does it, while its output is read, so
    /// that it can come to its end.
    async fn tear_down(&mut self, end: &End) -> Teardown {
        let patience = self.begin_teardown(end);
        while matches!(self.guard, Guard::Watching) && Instant::now() < patience {
            self.let_go_of_stdin();
            self.step(Some(patience)).await;
        }
        // The result is there, so this does not wait for all that is allowed.
        let patience = patience.min(Instant::now() + MARGIN);
        while self.adopted.is_some() && Instant::now() < patience {
            self.step(Some(patience)).await;
        }
        match self.guard {
            Guard::Gone(teardown) => teardown,
            Guard::Watching | Guard::Lost => self.sweep().await,
        }
    }

    /// Tell the guard. Until when to wait for its last word.
    fn begin_teardown(&mut self, end: &End) -> Instant {
        if matches!(end, End::Abandoned) || matches!(self.cause, Some(Cause::NeverStarted(_))) {
            self.shared.outbox().sink().close();
            self.server.kill();
            self.shared.trace.note(|| "the guard is to kill everything now".to_owned());
            return Instant::now() + MARGIN;
        }
        // What cannot be sent is lost with the server.
        let _ = self.shared.flush(self.shared.outbox());
        self.server.close();
        let limit = self.graces + MARGIN;
        self.shared.trace.note(|| format!("the guard is to end everything within {limit:?}"));
        Instant::now() + limit
    }

    /// Close stdin once everything is sent.
    fn let_go_of_stdin(&mut self) {
        let mut outbox = self.shared.outbox();
        if outbox.is_done() {
            outbox.sink().close();
            drop(outbox);
            self.stdin = None;
        }
    }

    /// The guard is dead or silent: find what it would have ended.
    async fn sweep(&mut self) -> Teardown {
        let patience = Instant::now() + MARGIN;
        loop {
            if let Some(teardown) = self.server.sweep() {
                return teardown;
            }
            if Instant::now() >= patience {
                return self.server.swept_so_far();
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Read what the last processes have left in the pipes.
    async fn drain(&mut self) {
        if !self.is_started {
            return;
        }
        self.wait_for_input().await;
        let mut read = 0;
        while let (Some(n), true) = (self.read_output(), read < LEFTOVER_MAX) {
            read += n;
        }
        read = 0;
        while let (Some(n), true) = (self.read_errors(), read < LEFTOVER_MAX) {
            read += n;
        }
    }

    fn finish(mut self, end: End, teardown: Teardown) {
        let exit = teardown.exit.or(self.exit);
        let (status, text) = match &end {
            End::Requested => (None, "the connection was closed".to_owned()),
            End::Abandoned => (Some(Code::Connect), "the server was not started in time".into()),
            End::Failed(error) => (Some(error.code()), error.text().to_owned()),
        };
        let closed = Closed {
            status,
            text: Text::new(text.as_bytes()),
            teardown: Some(Teardown { exit, ..teardown }),
            ..Closed::default()
        };
        self.is_finished = true;
        let failed = match (&self.cause, &end) {
            (Some(Cause::NeverStarted(error)), _) | (_, End::Failed(error)) => Some(error.clone()),
            _ => None,
        };
        let shared = Arc::clone(&self.shared);
        shared.outbox().sink().close();
        // Descriptors first: who sees the end must not see them any more.
        drop(self);
        shared.finish(closed, failed);
    }

    /// Wait for the next thing to happen, until `until`, and deal with it.
    async fn step(&mut self, until: Option<Instant>) {
        self.watch_stdin();
        match self.next(until).await {
            Happening::Kicked | Happening::Time => self.shared.expire(Instant::now()),
            Happening::Guard => self.hear_guard(),
            Happening::Room => self.write(),
            Happening::Errors => drop(self.read_errors()),
        }
        self.read();
        if self.cause.is_none() && !self.shared.outbox().sink().is_open() {
            self.cause = Some(Cause::StdinClosed);
        }
    }

    /// Read stdout, if that is the runtime's affair, and see how it ended.
    fn read(&mut self) {
        if !self.is_started {
            // A server can be faster than the guard's word that it runs; OPEN
            // comes first all the same.
            return;
        }
        if self.is_ending() {
            self.take_input();
            if self.read_output().is_some() {
                // There may be more; others have their turn before.
                self.shared.driver.notify_one();
            }
        } else {
            self.shared.read_for_runtime();
        }
        if self.cause.is_none() {
            let end = self.shared.state().reading.end().cloned();
            self.cause = end.map(|end| match end {
                StreamEnd::Closed => Cause::StdoutEnded,
                StreamEnd::Broken(error) => Cause::Broken(error),
            });
        }
    }

    /// The thread that reads was told to stop; it may not have run since then.
    async fn wait_for_input(&mut self) {
        let patience = tokio::time::sleep(MARGIN);
        tokio::pin!(patience);
        self.take_input();
        while self.input.is_none() && !self.has_stdout_ended() {
            tokio::select! {
                () = self.shared.driver.notified() => self.take_input(),
                () = &mut patience => return,
            }
        }
    }

    /// From the end on the right to read stays here.
    fn take_input(&mut self) {
        if self.input.is_none() {
            self.input = self.shared.state().reading.take();
        }
    }

    fn has_stdout_ended(&self) -> bool {
        self.shared.state().reading.end().is_some()
    }

    async fn next(&mut self, until: Option<Instant>) -> Happening {
        let deadline = self.shared.state().next_deadline();
        let until = until.into_iter().chain(deadline).min();
        let is_guard_awaited = matches!(self.guard, Guard::Watching) || self.adopted.is_some();
        let Self { shared, reports, stdin, stderr, is_started, .. } = self;
        tokio::select! {
            () = shared.driver.notified() => Happening::Kicked,
            () = readable(reports), if is_guard_awaited => Happening::Guard,
            () = at(until) => Happening::Time,
            () = has_room(stdin) => Happening::Room,
            () = errors(stderr), if *is_started => Happening::Errors,
        }
    }

    fn is_ending(&self) -> bool {
        self.cause.is_some() || self.is_closing()
    }

    /// Wait for room in stdin exactly while output waits for it: its readiness
    /// changes with each message that the server reads.
    fn watch_stdin(&mut self) {
        let mut outbox = self.shared.outbox();
        if !outbox.is_waiting() {
            drop(outbox);
            if self.stdin.take().is_some() {
                self.shared.trace.note(|| "output goes on".to_owned());
            }
            return;
        }
        if self.stdin.is_some() {
            return;
        }
        let Some(fd) = outbox.sink().descriptor() else { return };
        match sys::watch(fd, Interest::WRITABLE) {
            Ok(fd) => {
                self.stdin = Some(fd);
                self.shared.trace.note(|| "output waits: the server does not read".to_owned());
            }
            Err(e) => {
                outbox.sink().close();
                let what = "cannot watch the server's stdin";
                self.cause = Some(Cause::Broken(Error::os(Code::Closed, what, &e)));
            }
        }
    }

    fn write(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        // The outbox writes by itself; this only keeps the readiness true.
        let _ = stdin.try_io(Interest::WRITABLE, |_| {
            let is_full = self.shared.resume();
            if is_full { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        // A peer that has read may have made us free to do so, too.
        self.shared.update(|state| self.shared.pass_on(state));
    }

    fn hear_guard(&mut self) {
        if self.adopted.take().is_some() {
            return;
        }
        let report = self.server.next_report();
        report.iter().for_each(|report| self.shared.trace.report(&self.label, report));
        match report {
            None => sys::has_nothing_more(&self.reports),
            Some(Report::Started { pid }) => {
                self.is_started = true;
                self.shared.opened(Some(pid));
            }
            Some(Report::Failed(error)) => {
                self.see_guard_off(UNKNOWN);
                self.cause = Some(Cause::NeverStarted(error));
            }
            Some(Report::Exited(exit)) => {
                self.exit = Some(exit);
                // A launcher that ends well may have left the server behind.
                if exit != Exit::Code(0) {
                    self.cause.get_or_insert(Cause::Exit);
                }
            }
            Some(Report::Gone(teardown)) => {
                self.exit = self.exit.or(teardown.exit);
                self.see_guard_off(teardown);
                self.cause.get_or_insert(Cause::Exit);
            }
            Some(Report::Lost) => {
                self.guard = Guard::Lost;
                let text = format!("the guard of {} was killed", self.label);
                self.cause.get_or_insert(Cause::Broken(Error::new(Code::Closed, text)));
            }
        }
    }

    /// It was its last word.
    fn see_guard_off(&mut self, teardown: Teardown) {
        self.guard = Guard::Gone(teardown);
        let Some(guard) = self.server.take_guard() else { return };
        if teardown.left > 0 {
            // It may go on killing what is slow to die.
            return;
        }
        match sys::watch(guard.descriptor(), Interest::READABLE) {
            Ok(ended) => {
                self.reports = ended;
                self.adopted = Some(guard);
            }
            Err(_) => guard.wait(),
        }
    }

    /// Read a portion of stdout at the end: nothing stops that, for the server
    /// must be able to come to its own. How much it was; `None`: there is
    /// nothing more for now.
    fn read_output(&mut self) -> Option<usize> {
        let mut input = self.input.take()?;
        let end = match input.read_last(|parsed| self.shared.take_in(parsed)) {
            Ok(Filled::Some(n)) => {
                self.input = Some(input);
                return Some(n);
            }
            Ok(Filled::Nothing) => {
                input.interest.arm();
                self.input = Some(input);
                return None;
            }
            Ok(Filled::End) => StreamEnd::Closed,
            Err(error) => StreamEnd::Broken(error),
        };
        self.shared.state().reading.finish(end);
        None
    }

    /// Read a portion of stderr. How much it was.
    fn read_errors(&mut self) -> Option<usize> {
        let shared = &self.shared;
        let filled = self.stderr.as_mut()?.read(|line| {
            shared.trace.note(|| format!("<- stderr, {} bytes", line.len()));
            shared.update(|state| state.queue.push_stderr(Text::new(line)));
        });
        match filled {
            Filled::Some(n) => Some(n),
            Filled::Nothing => None,
            Filled::End => {
                self.stderr = None;
                None
            }
        }
    }
}

/// What is said of a teardown of which nothing is known.
const UNKNOWN: Teardown = Teardown { exit: None, stage: Stage::Exited, killed: 0, left: 0 };

impl Drop for Driver {
    /// Reached unfinished only by a panic. Nobody may wait for ever; dropping
    /// the server makes its guard tear it down.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.shared.break_off();
    }
}

fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(name) => format!("signal {signal} ({name})"),
        Err(_) => format!("signal {signal}"),
    }
}

/// When it is time; never, if that is not known.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}

async fn readable(reports: &Watched) {
    // An error here means that the runtime is going away, and this task too.
    let _ = reports.readable().await.map(|mut guard| guard.retain_ready());
}

/// When there is room for output that waits.
pub(super) async fn has_room(output: &Option<Watched>) {
    match output {
        Some(output) => {
            let _ = output.writable().await.map(|mut guard| guard.retain_ready());
        }
        None => pending().await,
    }
}

async fn errors(stderr: &Option<Lines>) {
    match stderr {
        Some(stderr) => stderr.readable().await,
        None => pending().await,
    }
}
