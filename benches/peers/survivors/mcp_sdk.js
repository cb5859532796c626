// The MCP TypeScript SDK. NODE_PATH says where it is.
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const lines = require("readline").createInterface({ input: process.stdin });

const [command, ...args] = process.argv.slice(2);
const transport = new StdioClientTransport({ command, args, env: process.env });
const client = new Client({ name: "survivor", version: "1" });
client.connect(transport).then(() => {
  console.log("ready");
  lines.once("line", async (line) => {
    if (line === "close") await client.close();
    process.exit(0);
  });
});
