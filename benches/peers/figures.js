// What each client measures, and how it says so: one line of JSON. `client` has
// call(method, params), a promise, and, if its server has more than calls, seen(), the
// notifications so far.
const SECONDS = 0.7, SIZE = 16_000_000, FLOOD = 20_000;
const now = () => performance.now() / 1e3;
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

async function calls(client, outstanding) {
  const times = [], begun = now();
  const caller = async () => {
    while (now() - begun < SECONDS) {
      const before = now();
      await client.call("echo", [1]);
      times.push(now() - before);
    }
  };
  await Promise.all(Array.from({ length: outstanding }, caller));
  return { times, rate: times.length / (now() - begun) };
}

exports.measure = async (client) => {
  const figures = {};
  for (let i = 0; i < 200; i++) await client.call("echo", [1]);
  for (const n of [1, 8, 64]) {
    const { times, rate } = await calls(client, n);
    figures[`calls_${n}`] = rate;
    if (n === 1) figures.p50_us = median(times) * 1e6;
  }
  if (!client.seen) return console.log(JSON.stringify(figures));
  const large = [];
  for (let i = 0; i < 3; i++) {
    const before = now();
    await client.call("blob", { size: SIZE });
    large.push(now() - before);
  }
  figures.large_ms = median(large) * 1e3;
  const before = now();
  await client.call("flood", { size: FLOOD });
  while (client.seen() < FLOOD) await new Promise(setImmediate);
  figures.notifications = FLOOD / (now() - before);
  console.log(JSON.stringify(figures));
};
