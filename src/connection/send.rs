//! How messages go out: each thread writes by itself what it sends, one at a time,
//! and what others send meanwhile.

use std::sync::MutexGuard;
use std::thread;
use std::time::Instant;

use super::outbox::{Begun, Haste, Outbox, Writing, worth_of};
use super::shared::Shared;
use super::upload::Upload;
use crate::error::Result;
use crate::message::Outgoing;
use crate::transport::stdio;

/// A thread that sends writes so many portions of what others have added
/// meanwhile. The rest is the runtime's: nobody may have to write for ever.
const HELP_MAX: usize = 4;

/// Of many threads that could have added one, so many are enough; of few, all.
const GATHER_ENOUGH: usize = 8;

impl Shared {
    /// Send a message of the library's own. It counts against no limit; when
    /// the connection is ending, it is as good as sent.
    pub fn send_own(&self, message: Outgoing<'_>) {
        let _ = self.send(self.outbox(), message, Haste::Now);
    }

    /// Send a message, and let go of the send lock. It is free, too, while the
    /// kernel takes the message: what other threads send then is kept, and
    /// written by this one.
    ///
    /// The rest of a large message that is awaited is the caller's to write.
    pub fn send<'a>(
        &'a self,
        mut outbox: MutexGuard<'a, Outbox>,
        message: Outgoing<'a>,
        haste: Haste,
    ) -> Result<Option<Box<Upload<'a>>>> {
        if matches!(haste, Haste::Awaited | Haste::Together { .. })
            && message.length() >= stdio::LARGE
            && let Some(rest) = outbox.lend(&message)?
        {
            drop(outbox);
            return Ok(Some(Upload::begin(self, message, rest)));
        }
        let parts = message.parts();
        let (mut outbox, sent) = match outbox.send(&message, &parts, haste) {
            Ok(Begun::Writing(writing)) => self.write(outbox, writing),
            Ok(Begun::Gathering { others }) => self.gather(outbox, others),
            Ok(Begun::Kept) => (outbox, Ok(true)),
            Err(error) => (outbox, Err(error)),
        };
        outbox.recycle(message);
        self.release(outbox);
        sent.map(|_| None)
    }

    /// Let `others` run for a moment, who add what they send, and write all of it. On one
    /// core each of them does, and the server has one write to read instead of many; where
    /// each has a core of its own there is little to gain.
    fn gather<'a>(
        &'a self,
        outbox: MutexGuard<'a, Outbox>,
        others: usize,
    ) -> (MutexGuard<'a, Outbox>, Result<bool>) {
        drop(outbox);
        let begun = Instant::now();
        thread::yield_now();
        let time = begun.elapsed();
        let mut outbox = self.outbox();
        let (added, writing) = outbox.end_gathering();
        let worth = worth_of(added);
        if added >= others.min(GATHER_ENOUGH) && time <= worth {
            self.gather.has_paid();
        } else {
            self.gather.was_in_vain(time.saturating_sub(worth));
        }
        self.write_begun(outbox, writing)
    }

    /// Send what was corked, and let go of the send lock.
    pub fn flush(&self, mut outbox: MutexGuard<'_, Outbox>) -> Result<()> {
        let writing = outbox.flush()?;
        self.go_on(outbox, writing)
    }

    /// Write what was begun, if anything was, and let go of the send lock.
    pub fn go_on(
        &self,
        outbox: MutexGuard<'_, Outbox>,
        writing: Option<Writing<'_>>,
    ) -> Result<()> {
        let (outbox, sent) = self.write_begun(outbox, writing);
        self.release(outbox);
        sent.map(drop)
    }

    /// Write some of what waits for room. Whether there was too little.
    pub fn resume(&self) -> bool {
        let mut outbox = self.outbox();
        let writing = outbox.resume();
        let (outbox, went) = self.write_begun(outbox, writing);
        self.note(&outbox);
        // A broken pipe is told by the outbox.
        matches!(went, Ok(false))
    }

    /// Write what was begun, if anything was.
    fn write_begun<'a>(
        &'a self,
        outbox: MutexGuard<'a, Outbox>,
        writing: Option<Writing<'_>>,
    ) -> (MutexGuard<'a, Outbox>, Result<bool>) {
        match writing {
            Some(writing) => self.write(outbox, writing),
            None => (outbox, Ok(true)),
        }
    }

    /// Write what was begun, and then some of what else there is, without the
    /// send lock. Gives it back, and whether there was room for all of that.
    fn write<'a>(
        &'a self,
        mut outbox: MutexGuard<'a, Outbox>,
        mut writing: Writing<'_>,
    ) -> (MutexGuard<'a, Outbox>, Result<bool>) {
        let mut helped = 0;
        loop {
            drop(outbox);
            let written = writing.write();
            outbox = self.outbox();
            let is_all = match outbox.wrote(writing, written) {
                Ok(is_all) => is_all,
                Err(error) if helped == 0 => return (outbox, Err(error)),
                // That others' messages fail is told by the connection's end.
                Err(_) => false,
            };
            let more = if is_all && helped < HELP_MAX { outbox.resume() } else { None };
            let Some(more) = more else { return (outbox, Ok(is_all)) };
            writing = more;
            helped += 1;
        }
    }

    /// Let go of the send lock after sending. What did not fit is the
    /// runtime's, and so is a broken pipe.
    #[inline]
    fn release(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let is_runtimes = outbox.is_runtimes();
        let was_overdrawn = self.is_overdrawn();
        self.note(&outbox);
        drop(outbox);
        if is_runtimes {
            self.driver.notify_one();
        }
        if was_overdrawn && !self.is_overdrawn() {
            self.update(|state| self.pass_on(state));
        }
    }
}
