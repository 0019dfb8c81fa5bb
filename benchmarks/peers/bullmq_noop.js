// BullMQ: one Worker with its concurrency; finished jobs are kept, as they are by default.
const { Queue, Worker } = require("bullmq");
const { mark } = require("./mark.js");
const { produce } = require("./produce.js");

const { hostname, port } = new URL(process.env.BENCH_REDIS);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };

async function main() {
  if (process.argv[2] === "work") {
    const concurrency = Number(process.env.BENCH_CONCURRENCY);
    new Worker("noop", async (job) => mark(job.data.sent), { connection, concurrency });
    return;
  }
  const queue = new Queue("noop", { connection });
  await produce(
    (sent) => queue.add("noop", { sent }),
    (count) => queue.addBulk(Array.from({ length: count }, () => ({ name: "noop", data: { sent: 0 } }))),
  );
  await queue.close();
}

main();
