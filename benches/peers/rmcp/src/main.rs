//! rmcp: `peer-rmcp current|default SERVER`, by tokio's runtime.

#![allow(deprecated, reason = "logging is the notification that every MCP client knows")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, ClientRequest, LoggingMessageNotificationParam, PingRequest,
};
use rmcp::service::{NotificationContext, Peer, RoleClient};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ServiceExt};
use serde_json::json;
use tokio::process::Command;
use tokio::runtime::Builder;

const SECONDS: Duration = Duration::from_millis(700);
const SIZE: usize = 16_000_000;
const FLOOD: usize = 20_000;

struct Host {
    seen: Arc<AtomicUsize>,
}

impl ClientHandler for Host {
    async fn on_logging_message(
        &self,
        _: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ping(peer: &Peer<RoleClient>) {
    let request = ClientRequest::PingRequest(PingRequest::default());
    peer.send_request(request).await.expect("an answer");
}

async fn calls(peer: &Peer<RoleClient>, outstanding: usize) -> (Vec<Duration>, f64) {
    let begun = Instant::now();
    let caller = |peer: Peer<RoleClient>| async move {
        let mut times = Vec::new();
        while begun.elapsed() < SECONDS {
            let before = Instant::now();
            ping(&peer).await;
            times.push(before.elapsed());
        }
        times
    };
    let callers: Vec<_> = (0..outstanding).map(|_| tokio::spawn(caller(peer.clone()))).collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.expect("no panic"));
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    (times, rate)
}

async fn tool(peer: &Peer<RoleClient>, name: &'static str, size: usize) {
    let arguments = json!({ "size": size }).as_object().cloned().unwrap_or_default();
    let call = CallToolRequestParams::new(name).with_arguments(arguments);
    peer.call_tool(call).await.expect("an answer");
}

async fn run(server: Vec<String>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let mut command = Command::new(&server[0]);
    command.args(&server[1..]);
    let transport = TokioChildProcess::new(command).expect("the server starts");
    let host = Host { seen: Arc::clone(&seen) };
    let client = host.serve(transport).await.expect("it is initialized");
    let peer = client.peer();
    for _ in 0..200 {
        ping(peer).await;
    }
    let mut figures = json!({});
    for outstanding in [1, 8, 64] {
        let (mut times, rate) = calls(peer, outstanding).await;
        figures[format!("calls_{outstanding}")] = json!(rate);
        if outstanding == 1 {
            times.sort();
            figures["p50_us"] = json!(times[times.len() / 2].as_secs_f64() * 1e6);
        }
    }
    let mut large = Vec::new();
    for _ in 0..3 {
        let before = Instant::now();
        tool(peer, "blob", SIZE).await;
        large.push(before.elapsed());
    }
    large.sort();
    figures["large_ms"] = json!(large[1].as_secs_f64() * 1e3);
    let before = Instant::now();
    tool(peer, "flood", FLOOD).await;
    while seen.load(Ordering::Relaxed) < FLOOD {
        tokio::task::yield_now().await;
    }
    figures["notifications"] = json!(FLOOD as f64 / before.elapsed().as_secs_f64());
    println!("{figures}");
    let _ = client.cancel().await;
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut builder = match arguments.next().as_deref() {
        Some("current") => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(run(arguments.collect()));
}
