//! jsonrpsee: `peer-jsonrpsee URL`, by tokio's runtime on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::core::client::ClientT;
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde_json::{Value, json};

const SECONDS: Duration = Duration::from_millis(700);

async fn echo(client: &WsClient) {
    let answer: Result<Value, _> = client.request("echo", rpc_params![1]).await;
    answer.expect("an answer");
}

async fn calls(client: &Arc<WsClient>, outstanding: usize) -> (Vec<Duration>, f64) {
    let begun = Instant::now();
    let caller = |client: Arc<WsClient>| async move {
        let mut times = Vec::new();
        while begun.elapsed() < SECONDS {
            let before = Instant::now();
            echo(&client).await;
            times.push(before.elapsed());
        }
        times
    };
    let callers: Vec<_> =
        (0..outstanding).map(|_| tokio::spawn(caller(Arc::clone(client)))).collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.expect("no panic"));
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    (times, rate)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let client = Arc::new(WsClientBuilder::default().build(url).await.expect("a connection"));
    for _ in 0..200 {
        echo(&client).await;
    }
    let mut figures = json!({});
    for outstanding in [1, 8, 64] {
        let (mut times, rate) = calls(&client, outstanding).await;
        figures[format!("calls_{outstanding}")] = json!(rate);
        if outstanding == 1 {
            times.sort();
            figures["p50_us"] = json!(times[times.len() / 2].as_secs_f64() * 1e6);
        }
    }
    println!("{figures}");
}
