//! Hosts that leave something behind, or not: `survivors rmcp|process-wrap SERVER`.
//! See ../../../survivors.py.

use std::io::{self, Write};
use std::process::Stdio;

use process_wrap::tokio::{CommandWrap, ProcessGroup};
use rmcp::ServiceExt;
use rmcp::transport::TokioChildProcess;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// Say that the server has answered, and hear whether to close it.
fn is_to_close() -> bool {
    println!("ready");
    let _ = io::stdout().flush();
    let mut line = String::new();
    io::stdin().read_line(&mut line).is_ok_and(|_| line == "close\n")
}

async fn rmcp(argv: &[String]) {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]);
    let transport = TokioChildProcess::new(command).expect("the server starts");
    let client = ().serve(transport).await.expect("it is initialized");
    if !is_to_close() {
        std::process::exit(0);
    }
    let _ = client.cancel().await;
}

async fn process_wrap(argv: &[String]) {
    let mut child = CommandWrap::with_new(&argv[0], |command| {
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    })
    .wrap(ProcessGroup::leader())
    .spawn()
    .expect("the server starts");
    let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n";
    let input = child.stdin().as_mut().expect("piped");
    input.write_all(request).await.expect("it reads");
    let mut output = BufReader::new(child.stdout().as_mut().expect("piped"));
    output.read_line(&mut String::new()).await.expect("it answers");
    if !is_to_close() {
        std::process::exit(0);
    }
    let _ = child.start_kill();
    let _ = child.wait().await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments[0].as_str() {
        "rmcp" => rmcp(&arguments[1..]).await,
        _ => process_wrap(&arguments[1..]).await,
    }
}
