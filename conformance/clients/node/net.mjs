// A client on node's own `net`, without any library:  node net.mjs URL NAMESPACE PARTITIONS
import { connect } from "node:net";
import { serve } from "./adapter.mjs";

// RESP2: [value, end], or null while the rest has not come.
function parse(buffer, at) {
  const end = buffer.indexOf("\r\n", at);
  if (end < 0) return null;
  const kind = String.fromCharCode(buffer[at]);
  const rest = buffer.toString("utf8", at + 1, end);
  let next = end + 2;
  if (kind === "+") return [rest, next];
  if (kind === "-") return [new Error(rest), next];
  if (kind === ":") return [Number(rest), next];
  const size = Number(rest);
  if (kind === "$") {
    if (size < 0) return [null, next];
    return buffer.length < next + size + 2 ? null : [buffer.toString("utf8", next, next + size), next + size + 2];
  }
  const items = [];
  for (let i = 0; i < size; i++) {
    const item = parse(buffer, next);
    if (item === null) return null;
    items.push(item[0]);
    next = item[1];
  }
  return [items, next];
}

// A connection that hands each reply to `onReply`, and its end to `onLost`.
function dial(url, onReply, onLost) {
  const { hostname, port, username, password } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port || 6379), noDelay: true });
  let buffer = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (let found; (found = parse(buffer, 0)) !== null; ) {
      buffer = buffer.subarray(found[1]);
      onReply(found[0]);
    }
  });
  socket.on("error", () => {}); // `close` follows
  socket.on("close", onLost);
  const send = (...words) => {
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${words.length}\r\n${parts.join("")}`);
  };
  if (password) send("AUTH", ...(username ? [username] : []), decodeURIComponent(password));
  return { send, close: () => socket.destroy() };
}

async function open(url) {
  const waiting = [];
  const onReply = (reply) => {
    const { resolve, reject } = waiting.shift();
    if (reply instanceof Error) reject(reply);
    else resolve(reply);
  };
  const lost = () => waiting.splice(0).forEach(({ reject }) => reject(new Error("Redis closed the connection")));
  if (new URL(url).password) waiting.push({ resolve() {}, reject(error) { throw error; } });
  const redis = dial(url, onReply, lost);
  return {
    call: (...words) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        redis.send(...words);
      }),
    subscribe: (kind, names, heard, gap) => new Promise((resolve) => watch(url, kind, names, heard, gap, resolve)),
  };
}

// A subscription that is made anew when its connection is lost; what came meanwhile is not known.
function watch(url, kind, names, heard, gap, resolve) {
  let closed = false;
  let listener;
  let first = true;
  const subscribe = () => {
    let left = names.length;
    const onReply = (reply) => {
      if (!Array.isArray(reply)) return; // the answer to AUTH
      if (reply[0].endsWith("message")) return heard(reply.at(-2), reply.at(-1));
      if (--left > 0) return;
      if (first) resolve({ close: () => { closed = true; listener.close(); } });
      else gap();
      first = false;
    };
    listener = dial(url, onReply, () => closed || setTimeout(subscribe, 100));
    listener.send(kind.toUpperCase(), ...names);
  };
  subscribe();
}

await serve(open);
