// vscode-jsonrpc, with Content-Length framing. NODE_PATH says where it is.
const { spawn } = require("child_process");
const rpc = require("vscode-jsonrpc/node");
const { measure } = require("./figures.js");

const server = spawn(process.argv[2], process.argv.slice(3), { stdio: ["pipe", "pipe", "inherit"] });
const connection = rpc.createMessageConnection(
  new rpc.StreamMessageReader(server.stdout),
  new rpc.StreamMessageWriter(server.stdin),
);
let seen = 0;
connection.onNotification("notifications/message", () => void seen++);
connection.listen();
const call = (method, params) => connection.sendRequest(method, rpc.ParameterStructures.auto, params);
measure({ call, seen: () => seen }).then(() => {
  connection.dispose();
  server.stdin.end();
});
