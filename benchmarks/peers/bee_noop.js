// bee-queue with its defaults.
const Queue = require("bee-queue");
const { mark } = require("./mark.js");
const { produce } = require("./produce.js");

const { hostname, port } = new URL(process.env.BENCH_REDIS);
const redis = { host: hostname, port: Number(port) };

async function main() {
  if (process.argv[2] === "work") {
    const queue = new Queue("noop", { redis });
    queue.process(Number(process.env.BENCH_CONCURRENCY), async (job) => mark(job.data.sent));
    return;
  }
  const queue = new Queue("noop", { redis, isWorker: false });
  await produce(
    (sent) => queue.createJob({ sent }).save(),
    (count) => queue.saveAll(Array.from({ length: count }, () => queue.createJob({ sent: 0 }))),
  );
  await queue.close();
}

main();
