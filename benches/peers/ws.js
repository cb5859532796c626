// The ws package, and a map of promises.
const WebSocket = require("ws");
const { measure } = require("./figures.js");

const socket = new WebSocket(process.argv[2], { perMessageDeflate: false });
const pending = new Map();
let last = 0;

socket.on("message", (data) => {
  const message = JSON.parse(data);
  pending.get(message.id)(message.result);
  pending.delete(message.id);
});

const call = (method, params) =>
  new Promise((resolve) => {
    pending.set(++last, resolve);
    socket.send(JSON.stringify({ jsonrpc: "2.0", id: last, method, params }));
  });

socket.on("open", () => measure({ call }).then(() => socket.close()));
