"""Out of the waiting lists of limits, as plain Redis commands; see `pytask.cli.explain` and slots.lua."""

from __future__ import annotations

from pytask.domain import lifecycle as life

LEAVE = """\
local function leave(hash, queue, id, own)
  local names = redis.call("HMGET", hash, "group", "function")
  local queued = redis.call("LREM", queue, 0, id)
  if queued > 0 then redis.call("HDEL", own .. "woken", id) end
  local found = queued
  for i, kind in ipairs({"group", "function"}) do
    local name = names[i] or ""
    local line, next = own .. "group:" .. kind .. ":" .. name
    if name ~= "" then found = found + redis.call("ZREM", line, id) end
    while name ~= "" and queued > 0 and not next do
      local first = redis.call("ZPOPMIN", line)
      if not first[1] then break end
      local other = redis.call("HMGET", own:sub(1, -8) .. first[1], "state", kind)
      if other[2] == name and (not other[1] or other[1] == "WAITING") then
        next = first[1]
        redis.call(first[2]:sub(1, 1) == "-" and "RPUSH" or "LPUSH", queue, next)
        redis.call("HSET", own .. "woken", next, first[2])
      end
    end
    if kind == "group" and next then
      redis.call("HSET", own .. "runners", name, next)
    elseif kind == "group" and name ~= "" and queued > 0 then
      redis.call("HDEL", own .. "runners", name)
    end
  end
  return found
end
""".replace("WAITING", life.WAIT)
"""A function that takes an id out of the queue and of the waiting lists of its group and its function.

Where it was in the queue, the next of each list gets its turn.  Returns in how many places it was."""
OUT = LEAVE + "return leave(KEYS[1], KEYS[2], ARGV[1], ARGV[2])"
