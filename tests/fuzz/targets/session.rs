//! Calls and whatever a peer answers, in any order: a call ends once, by the
//! answer that names it, and an id never comes back.

use std::collections::BTreeMap;

use leash::framing::{Decoder, Framing, Piece};
use leash::message::{Frame, Kind, Parsed, parse};
use leash::session::{CallId, Session};

use super::Program;

pub fn run(data: &[u8]) {
    let mut program = Program::new(data);
    let mut bench = Bench {
        session: Session::default(),
        model: BTreeMap::new(),
        last: 0,
        decoder: Decoder::new(Framing::Lines, 1 << 20),
    };
    while let Some(step) = program.next() {
        match step % 8 {
            0 | 1 => bench.begin(u64::from(step)),
            2 => bench.end(i64::from(program.byte()) - 4),
            3 => bench.end_all(),
            4 => bench.says(&answer(program.byte(), program.byte())),
            5 => {
                let parts: Vec<_> =
                    (0..step / 64 + 1).map(|_| answer(program.byte(), step)).collect();
                bench.says(&format!("[{}]", parts.join(",")));
            }
            // Perhaps half of a line: what comes next is its other half.
            _ => {
                let length = usize::from(program.byte());
                bench.says_bytes(program.bytes(length));
            }
        }
        bench.check();
    }
}

struct Bench {
    session: Session<u64>,
    /// The open calls.
    model: BTreeMap<i64, u64>,
    last: i64,
    decoder: Decoder,
}

impl Bench {
    fn begin(&mut self, tag: u64) {
        let id = self.session.begin(tag).get();
        assert_eq!(id, self.last + 1, "ids are consecutive");
        self.last = id;
        self.model.insert(id, tag);
    }

    /// As an answer, a cancel or a deadline does.
    fn end(&mut self, id: i64) {
        let ended = CallId::new(id).and_then(|id| self.session.end(id));
        assert_eq!(ended, self.model.remove(&id));
    }

    fn end_all(&mut self) {
        let ended: Vec<_> =
            self.session.end_all().into_iter().map(|(id, tag)| (id.get(), tag)).collect();
        let expected: Vec<_> = std::mem::take(&mut self.model).into_iter().collect();
        assert_eq!(ended, expected);
    }

    fn says(&mut self, line: &str) {
        self.says_bytes(b"\n");
        self.says_bytes(line.as_bytes());
        self.says_bytes(b"\n");
    }

    fn says_bytes(&mut self, bytes: &[u8]) {
        self.decoder.room().expect("memory").extend_from_slice(bytes);
        while let Some(piece) = self.decoder.next_piece().expect("far below the limit") {
            let (Piece::Message(line) | Piece::Noise(line)) = piece;
            match parse(line) {
                Parsed::One(frame) => self.receive(&frame),
                Parsed::Batch(batch) => batch.for_each(|part| {
                    if let Parsed::One(frame) = part {
                        self.receive(&frame);
                    }
                }),
                Parsed::Noise(_) => {}
            }
        }
    }

    fn receive(&mut self, frame: &Frame) {
        if let Kind::Result(Some(id)) | Kind::Failure(Some(id)) = frame.kind() {
            assert!(id > 0, "ours are positive");
            self.end(id);
        }
    }

    fn check(&self) {
        assert_eq!(self.session.len(), self.model.len());
        assert_eq!(self.session.is_empty(), self.model.is_empty());
        let is_open = |id| CallId::new(id).is_some_and(|id| self.session.contains(id));
        assert!(self.model.keys().all(|id| is_open(*id)));
        assert!(!is_open(self.last + 1) && !is_open(0) && !is_open(-1));
    }
}

/// An answer as good and bad servers write it.
fn answer(id: u8, form: u8) -> String {
    let id = match form % 8 {
        0..=3 => id.to_string(),
        4 => format!("-{id}"),
        5 => format!("\"{id}\""),
        6 => format!("{id}.0"),
        _ => format!("{id}e0"),
    };
    match form / 8 % 8 {
        0..=2 => format!(r#"{{"id":{id},"result":{form}}}"#),
        3 => format!(r#"{{"result":[],"id":{id}}}"#),
        4 => format!(r#"{{"id":{id},"error":{{"code":1,"message":"no"}}}}"#),
        5 => format!(r#"{{"id":{id},"error":null}}"#),
        6 => format!(r#"{{"id":{id},"id":{id},"result":1}}"#),
        _ => format!(r#"{{"id":{id},"method":"m","params":[{id}]}}"#),
    }
}
