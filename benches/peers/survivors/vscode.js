// vscode-jsonrpc, ended as its users do: dispose, then kill. NODE_PATH says where it is.
const { spawn } = require("child_process");
const rpc = require("vscode-jsonrpc/node");
const lines = require("readline").createInterface({ input: process.stdin });

const server = spawn(process.argv[2], process.argv.slice(3), { stdio: ["pipe", "pipe", "inherit"] });
const connection = rpc.createMessageConnection(
  new rpc.StreamMessageReader(server.stdout),
  new rpc.StreamMessageWriter(server.stdin),
);
connection.listen();
connection.sendRequest("initialize", {}).then(() => {
  console.log("ready");
  lines.once("line", (line) => {
    if (line === "close") {
      connection.dispose();
      server.stdin.end();
      server.kill();
    }
    process.exit(0);
  });
});
