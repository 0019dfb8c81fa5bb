// A client on ioredis:  node ioredis.mjs URL NAMESPACE PARTITIONS
// $CONFORMANCE_NODE names a folder with node_modules, if ioredis is not installed beside this file.
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "./adapter.mjs";

const folder = process.env.CONFORMANCE_NODE;
const { Redis } = createRequire(folder ? join(folder, "package.json") : import.meta.url)("ioredis");

async function open(url) {
  const redis = new Redis(url);
  return {
    call: (...words) => redis.call(...words),
    async subscribe(kind, names, heard, gap) {
      // The library subscribes again by itself; `ready` comes before that, so we subscribe ourselves, to
      // know when it is done.
      const listener = new Redis(url, { autoResubscribe: false, retryStrategy: () => 100 });
      listener.on("error", () => {}); // it tries again; without this, node would end
      listener.on("message", (channel, payload) => heard(channel, payload));
      listener.on("pmessage", (_, channel, payload) => heard(channel, payload));
      await listener[kind](...names);
      listener.on("ready", () => listener[kind](...names).then(gap, () => {}));
      return { close: () => listener.disconnect() };
    },
  };
}

await serve(open);
