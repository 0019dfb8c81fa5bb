// produce.py for Node: `fill COUNT` (in bulk, not timed), `calls COUNT` and `steady RATE SECONDS`.
const { now } = require("./mark.js");

async function produce(enqueue, enqueueMany) {
  const [mode, first, second] = process.argv.slice(3);
  const count = Number(first);
  if (mode === "fill") {
    const began = now();
    for (let at = 0; at < count; at += 1000) await enqueueMany(Math.min(1000, count - at));
    console.log(now() - began);
  } else if (mode === "calls") {
    await enqueue(0);
    const began = now();
    for (let i = 1; i < count; i += 1) await enqueue(0);
    console.log(now() - began);
  } else {
    const began = now();
    for (let i = 0; i < count * Number(second); i += 1) {
      const pause = began + i / count - now();
      if (pause > 0) await new Promise((done) => setTimeout(done, pause * 1000));
      await enqueue(now());
    }
  }
}

module.exports = { produce };
