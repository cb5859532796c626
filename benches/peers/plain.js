// What one writes by hand: lines of JSON, and a map of promises.
const { spawn } = require("child_process");
const { measure } = require("./figures.js");

const server = spawn(process.argv[2], process.argv.slice(3), { stdio: ["pipe", "pipe", "inherit"] });
const pending = new Map();
let last = 0, seen = 0, parts = [];

function line(text) {
  const message = JSON.parse(text);
  if (message.id === undefined) return void seen++;
  pending.get(message.id)(message.result);
  pending.delete(message.id);
}

server.stdout.setEncoding("utf8");
server.stdout.on("data", (chunk) => {
  let from = 0, end;
  while ((end = chunk.indexOf("\n", from)) >= 0) {
    parts.push(chunk.slice(from, end));
    line(parts.length === 1 ? parts[0] : parts.join(""));
    parts = [];
    from = end + 1;
  }
  if (from < chunk.length) parts.push(chunk.slice(from));
});

const call = (method, params) =>
  new Promise((resolve) => {
    pending.set(++last, resolve);
    server.stdin.write(JSON.stringify({ jsonrpc: "2.0", id: last, method, params }) + "\n");
  });

measure({ call, seen: () => seen }).then(() => server.stdin.end());
