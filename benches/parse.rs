//! Finding the parts of a message beside what serde_json's `RawValue` takes
//! for it: `cargo bench --bench parse`. In turns; a figure is the median of the
//! rounds, and of their ratio.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use leash::message::{self, Parsed};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The same envelope, as serde would have it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A frame, and what the scan may take of RawValue's time.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    goal: f64,
}

/// Up to here a message stays where it arrived until it is parsed.
const SMALL: usize = 128;

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(20);

fn main() {
    // `cargo test --benches` only asks whether it would run.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("| frame | scan | RawValue | ratio | quartiles | goal | met |");
    println!("|---|--:|--:|--:|--:|--:|---|");
    for case in cases() {
        case.measure();
    }
}

fn cases() -> [Case; 6] {
    let structured = |size| structured(size, 0.3);
    [
        Case {
            name: "33 B echo",
            frame: br#"{"jsonrpc":"2.0","id":1,"result":1}"#.to_vec(),
            goal: 0.6,
        },
        Case { name: "1 KB structured", goal: 0.6, ..structured(1_000) },
        Case { name: "64 KB structured", ..structured(64_000) },
        Case { name: "16 MB structured", ..structured(16_000_000) },
        Case { name: "64 KB text", ..text(64_000) },
        Case { name: "16 MB text", ..text(16_000_000) },
    ]
}

/// A result of many small objects.
fn structured(size: usize, goal: f64) -> Case {
    let item = r#"{"name":"item","tags":["a","b"],"at":1234567,"note":"x \"y\" z"},"#;
    let items = item.repeat(size / item.len());
    let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{items}0]}}"#);
    Case { name: "", frame: frame.into_bytes(), goal }
}

/// A result that is one string.
fn text(size: usize) -> Case {
    let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#, "x".repeat(size));
    Case { name: "", frame: frame.into_bytes(), goal: 1.0 }
}

impl Case {
    fn measure(self) {
        let Self { name, mut frame, goal } = self;
        let (mut scans, mut raws, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let scan = nanoseconds(|| {
                // As the transport gives them: a small one where it is.
                let is_small = frame.len() <= SMALL;
                let bytes = match is_small {
                    true => Cow::Borrowed(&frame[..]),
                    false => std::mem::take(&mut frame).into(),
                };
                let Parsed::One(found) = message::parse(black_box(bytes)) else {
                    panic!("a whole message")
                };
                let found = black_box(found);
                if !is_small {
                    frame = found.into_bytes();
                }
            });
            let raw = nanoseconds(|| {
                let found: Envelope<'_> = serde_json::from_slice(black_box(&frame)).expect("JSON");
                let Envelope { id, method, params, result, error } = &found;
                black_box((id, method, params, result, error));
            });
            scans.push(scan);
            raws.push(raw);
            ratios.push(scan / raw);
        }
        let [scan, raw, ratio] = [&mut scans, &mut raws, &mut ratios].map(|v| quantile(v, 0.5));
        let [low, high] = [0.25, 0.75].map(|q| quantile(&mut ratios, q));
        let met = if ratio <= goal { "yes" } else { "no" };
        println!(
            "| {name} | {scan:.0} ns | {raw:.0} ns | {ratio:.2} | {low:.2}..{high:.2} | <= {goal} | {met} |"
        );
    }
}

fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < ROUND {
        // The clock must not count.
        for _ in 0..if times > 100 { 100 } else { 1 } {
            work();
            times += 1;
        }
    }
    begun.elapsed().as_nanos() as f64 / f64::from(times)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}
