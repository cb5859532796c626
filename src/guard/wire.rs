//! What the guard and the host say to each other. Compiled into both of them.
//!
//! The host sends single bytes, the guard [`Words`]. Both go through one
//! SOCK_SEQPACKET pair, so that each message arrives whole or not at all.

/// Where the guard finds its end of the control socket. 0, 1, 2 are the
/// server's stdin, stdout and stderr.
pub const CONTROL: i32 = 3;
/// Where the guard finds a pidfd of the host, if [`HAS_HOST`] is set.
pub const HOST: i32 = 4;

/// The guard's arguments. Its environment is the server's.
pub mod argument {
    /// The helper file that the guard was executed from and has to remove;
    /// empty when there is none.
    pub const FILE: usize = 1;
    /// `HAS_HOST` and `HAS_CWD`.
    pub const FLAGS: usize = 2;
    /// The host's pid.
    pub const HOST: usize = 3;
    /// Milliseconds from the beginning of a teardown to SIGTERM.
    pub const EXIT_AFTER: usize = 4;
    /// Milliseconds from SIGTERM to SIGKILL.
    pub const KILL_AFTER: usize = 5;
    /// The server's working directory.
    pub const CWD: usize = 6;
    /// How many paths to try as the server's program.
    pub const CANDIDATES: usize = 7;
    /// The first of these paths; the server's own arguments follow the last.
    pub const REST: usize = 8;
}

/// The host's pidfd is at [`HOST`].
pub const HAS_HOST: i64 = 1;
/// There is a working directory to go to.
pub const HAS_CWD: i64 = 2;

/// Host to guard: tear down, with the graces.
pub const CLOSE: u8 = b'c';
/// Host to guard: SIGKILL everything now.
pub const KILL: u8 = b'k';

/// Guard to host: one of the numbers below, then what it says.
pub type Words = [i32; 6];

/// The guard's pid; only to a host that has to reap it.
pub const GUARD: i32 = 1;
/// The server's pid; its pidfd comes along.
pub const STARTED: i32 = 2;
/// A step, and its errno. The last word.
pub const FAILED: i32 = 3;
/// How the server ended: two words.
pub const EXITED: i32 = 4;
/// How the server ended (two words), stage, killed, left. The last word.
pub const GONE: i32 = 5;

/// First word of how the server ended: nobody knows.
pub const END_UNKNOWN: i32 = 0;
/// It returned the status in the second word.
pub const END_CODE: i32 = 1;
/// The signal in the second word killed it.
pub const END_SIGNAL: i32 = 2;

/// No process needed a signal.
pub const STAGE_EXITED: i32 = 0;
/// Some needed SIGTERM.
pub const STAGE_TERM: i32 = 1;
/// Some needed SIGKILL.
pub const STAGE_KILL: i32 = 2;

/// What was being done when it failed.
pub mod step {
    /// Placing the guard's descriptors.
    pub const DESCRIPTORS: i32 = 1;
    /// Cloning the guard.
    pub const CLONE: i32 = 2;
    /// Executing the guard.
    pub const GUARD: i32 = 3;
    /// The guard's own preparations.
    pub const PREPARE: i32 = 4;
    /// Forking the server.
    pub const FORK: i32 = 5;
    /// Going to the server's working directory.
    pub const CWD: i32 = 6;
    /// Executing the server.
    pub const EXEC: i32 = 7;
}
