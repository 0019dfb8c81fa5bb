// The verbs of a producer, controller and watcher, and the kit's line protocol (conformance/README.md).
// A library adds `open(url)`, which resolves to { call(...words), subscribe(kind, names, heard, gap) }.
import { createInterface } from "node:readline";

const WORDS = ["stop", "start", "reload", "pause"];

// -- names ---------------------------------------------------------------------------------------------

// CRC-16/XMODEM.
export function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

export function namespaceOf(namespace, partition, partitions) {
  if (partitions === 1) return namespace;
  const found = /^([^{]*)\{([^}]+)\}(.*)$/s.exec(namespace);
  return found ? `${found[1]}{${found[2]}:${partition}}${found[3]}` : `${namespace}{${partition}}:`;
}

// `text` as a glob that matches nothing else.
const glob = (text) => text.replace(/[\\*?[\]]/g, "\\$&");

// -- verbs ---------------------------------------------------------------------------------------------

function verbs(redis, namespace, partitions, say) {
  const spaces = Array.from({ length: partitions }, (_, number) => namespaceOf(namespace, number, partitions));
  const spaceOf = (id) => spaces[crc16(Buffer.from(id)) % partitions];
  let watches = [];

  function heard(channel, payload) {
    const space = spaces.find((one) => channel.startsWith(`${one}task-`));
    let event;
    try {
      event = JSON.parse(payload);
    } catch {
      return; // a control message: `task-*` matches those channels, too
    }
    if (space !== undefined && event?.event !== undefined) {
      say("event", channel.slice(space.length + "task-".length), payload);
    }
  }

  return {
    where: async (id) => [spaceOf(id)],
    async start(id, name, data) {
      const fields = data === undefined ? [] : ["data", data];
      // The hash first, the push last: a worker may take the id at once.
      await redis.call("HSET", spaceOf(id) + id, "function", name, ...fields);
      await redis.call("LPUSH", `${spaceOf(id)}new-task`, id);
    },
    update: async (id, data) => void (await redis.call("HSET", spaceOf(id) + id, "data", data)),
    async control(id, word) {
      if (!WORDS.includes(word)) throw new Error(`there are ${WORDS.join(", ")}`);
      await redis.call("PUBLISH", `${spaceOf(id)}task-${id}-control`, word);
    },
    async get(id, field) {
      const value = await redis.call("HGET", spaceOf(id) + id, field);
      return value === null ? [] : [value];
    },
    remove: async (id) => void (await redis.call("DEL", spaceOf(id) + id)),
    async watch(id) {
      const all = id === "*";
      const names = all ? spaces.map((space) => `${glob(space)}task-*`) : [`${spaceOf(id)}task-${id}`];
      watches.push(await redis.subscribe(all ? "psubscribe" : "subscribe", names, heard, () => say("gap")));
    },
    async unwatch() {
      for (const watch of watches) watch.close();
      watches = [];
    },
  };
}

// -- the kit's line protocol ---------------------------------------------------------------------------

const escaped = (text) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");

export async function serve(open) {
  const [url, namespace, partitions] = process.argv.slice(2);
  const say = (...words) => process.stdout.write(`${words.join("\t")}\n`);
  const client = verbs(await open(url), namespace, Number(partitions), say);
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, ...words] = line.split("\t");
    try {
      say("ok", ...((await client[verb](...words)) ?? []).map(escaped));
    } catch (error) {
      say("error", escaped(String(error)));
    }
  }
  process.exit(0);
}
