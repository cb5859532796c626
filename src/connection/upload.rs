//! A large request whose sender waits for the answer. It stays where the host
//! has it, and the waiting thread writes it as there is room: no copy is made,
//! and the runtime need not wake up.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::MutexGuard;

use super::outbox::Outbox;
use super::shared::Shared;
use crate::message::Outgoing;
use crate::transport::stdio::Rest;

/// The right to write. Dropping it leaves what is not written to the runtime.
pub(super) struct Upload<'a> {
    shared: &'a Shared,
    message: Outgoing<'a>,
    /// `None`: nothing is left.
    rest: Option<Rest>,
}

impl<'a> Upload<'a> {
    /// Begin to write `message`.
    // In a box: the other messages have none, and pass by its place.
    pub fn begin(shared: &'a Shared, message: Outgoing<'a>, rest: Rest) -> Box<Self> {
        let mut upload = Box::new(Self { shared, message, rest: Some(rest) });
        upload.write();
        upload
    }

    /// Write as much as fits. Never blocks.
    pub fn write(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        let written = rest.write(self.message.parts());
        let mut outbox = self.shared.outbox();
        outbox.wrote_some(written);
        if rest.is_over(self.message.parts()) {
            self.end(outbox);
        }
    }

    /// Where there will be room, as long as something is left.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.rest.as_ref().map(|rest| rest.as_fd())
    }

    fn end(&mut self, mut outbox: MutexGuard<'a, Outbox>) {
        if let Some(rest) = self.rest.take() {
            outbox.end(rest, &self.message);
            let writing = outbox.resume();
            // That others' messages fail is told by the connection's end.
            let _ = self.shared.go_on(outbox, writing);
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.rest.is_some() {
            self.end(self.shared.outbox());
        }
    }
}
