//! What the guard's words mean, and how a failure is told to a person: by the
//! program's basename, never by its arguments or environment.

use std::io;

use super::{Command, Exit, Report, Stage, Teardown};
use crate::error::{Code, Error};
use crate::sys::wire::{self, Words, step};

/// One message of the guard.
#[derive(Debug)]
pub enum Word {
    /// Who the guard is; not for the caller.
    Guard(i32),
    /// For the caller.
    Report(Report),
}

impl Word {
    /// Whether this is the launch's own word, said before the guard ran.
    pub fn is_early(bytes: &[u8]) -> bool {
        match words(bytes) {
            Some([wire::FAILED, step, ..]) => step <= step::GUARD,
            Some([wire::GUARD, ..]) => true,
            _ => false,
        }
    }

    /// `None` for a message that no guard sends.
    pub fn decode(bytes: &[u8], label: &Label) -> Option<Self> {
        let [kind, a, b, c, d, e] = words(bytes)?;
        Some(Self::Report(match kind {
            wire::GUARD => return Some(Self::Guard(a)),
            wire::STARTED => Report::Started { pid: a },
            wire::FAILED => Report::Failed(label.failure(a, b)),
            wire::EXITED => Report::Exited(exit(a, b)?),
            wire::GONE => Report::Gone(Teardown {
                exit: exit(a, b),
                stage: stage(c)?,
                killed: u32::try_from(d).ok()?,
                left: u32::try_from(e).ok()?,
            }),
            _ => return None,
        }))
    }
}

fn words(bytes: &[u8]) -> Option<Words> {
    let mut words = Words::default();
    if bytes.len() != size_of_val(&words) {
        return None;
    }
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = i32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

fn exit(kind: i32, value: i32) -> Option<Exit> {
    match kind {
        wire::END_CODE => Some(Exit::Code(value)),
        wire::END_SIGNAL => Some(Exit::Signal(value)),
        _ => None,
    }
}

fn stage(stage: i32) -> Option<Stage> {
    match stage {
        wire::STAGE_EXITED => Some(Stage::Exited),
        wire::STAGE_TERM => Some(Stage::Term),
        wire::STAGE_KILL => Some(Stage::Kill),
        _ => None,
    }
}

/// `cannot start "pylsp"`.
#[derive(Debug)]
pub struct Label(String);

impl Label {
    pub fn new(command: &Command) -> Self {
        let program = command.argv.first().map_or(&b""[..], |name| name.to_bytes());
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(b"");
        Self(format!("cannot start {:?}", String::from_utf8_lossy(name)))
    }

    /// The beginning of every sentence about it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// That `step` failed with `errno`.
    fn failure(&self, step: i32, errno: i32) -> Error {
        let what = match step {
            step::EXEC => "",
            // The guard is executed with the server's arguments.
            step::GUARD if errno == libc::E2BIG => "",
            step::CWD => ": its working directory",
            step::FORK => ": no process for it",
            step::DESCRIPTORS | step::PREPARE => ": its guard cannot start",
            _ => ": its guard cannot be executed",
        };
        let source = io::Error::from_raw_os_error(errno);
        Error::os(Code::Connect, format_args!("{}{what}", self.0), &source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::time::Duration;

    fn label(program: &str) -> Label {
        Label::new(&Command {
            argv: vec![CString::new(program).unwrap(), c"secret".into()],
            env: Vec::new(),
            cwd: None,
            stderr: super::super::Stderr::Discard,
            exit_after: Duration::ZERO,
            kill_after: Duration::ZERO,
        })
    }

    fn decode(words: Words) -> Option<Word> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Word::decode(&bytes, &label("/opt/pylsp"))
    }

    #[test]
    fn a_failed_exec_names_the_program_and_the_reason() {
        let words = [wire::FAILED, step::EXEC, libc::ENOENT, 0, 0, 0];
        let Some(Word::Report(Report::Failed(error))) = decode(words) else {
            panic!("not a failure");
        };
        assert_eq!(error.text(), "cannot start \"pylsp\": No such file or directory");
        assert_eq!(error.os_error(), libc::ENOENT);
        assert_eq!(error.code(), Code::Connect);
    }

    #[test]
    fn each_step_has_a_sentence_of_its_own() {
        let label = label("x");
        let text = |step| label.failure(step, libc::EACCES).text().to_owned();
        let steps = [step::EXEC, step::CWD, step::FORK, step::PREPARE, step::GUARD];
        let mut texts: Vec<String> = steps.into_iter().map(text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), steps.len());
    }

    #[test]
    fn a_teardown_is_told_whole() {
        let words = [wire::GONE, wire::END_SIGNAL, 9, wire::STAGE_KILL, 3, 1];
        let Some(Word::Report(Report::Gone(teardown))) = decode(words) else {
            panic!("not a teardown");
        };
        let expected =
            Teardown { exit: Some(Exit::Signal(9)), stage: Stage::Kill, killed: 3, left: 1 };
        assert_eq!(teardown, expected);
    }

    #[test]
    fn nonsense_is_not_a_word() {
        assert!(decode([99, 0, 0, 0, 0, 0]).is_none());
        assert!(decode([wire::EXITED, 7, 0, 0, 0, 0]).is_none());
        assert!(decode([wire::GONE, 0, 0, 0, -1, 0]).is_none());
        assert!(Word::decode(&[1, 2, 3], &label("x")).is_none());
    }

    #[test]
    fn the_label_is_the_basename_only() {
        assert_eq!(label("/a/b/server").text(), "cannot start \"server\"");
        assert_eq!(label("").text(), "cannot start \"\"");
        assert_eq!(label("a\nb").text(), "cannot start \"a\\nb\"");
    }
}
