"""What Redis does in one step, as Lua: entries, deletions and notes.

A deletion leaves a mark (of an entry, a partition or a tenant): the id of its record in the stream. Whoever stores says which record it had seen when
its request began (``since``); a store that began before the deletion is refused, on whichever pod, however late. Ids of one
stream are a clock that all pods share, so no pod's own clock matters.

Invariants: all keys are passed as keys and lie in one slot; a deletion begins with what a full server still allows, and
Redis lets a script that has written go on.
"""

from __future__ import annotations

PUT = """
if ARGV[1] ~= '' then
  local ms, number = string.match(ARGV[1], '^(%d+)-(%d+)$')
  for _, mark in ipairs(redis.call('MGET', KEYS[2], KEYS[3], KEYS[4])) do
    if mark then
      local marked_ms, marked_number = string.match(mark, '^(%d+)-(%d+)$')
      local later = tonumber(ms) - tonumber(marked_ms)
      if later < 0 or (later == 0 and tonumber(number) < tonumber(marked_number)) then return 0 end
    end
  end
end
redis.call('HSET', KEYS[1], 'entry', ARGV[2], 'p', ARGV[6], 't', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if #ARGV > 7 then
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 8))
  redis.call('PEXPIRE', KEYS[5], ARGV[5])
end
return 1
"""
"""Keys: entry; marks of its key, partition and tenant; stream. Arguments: since, value, its milliseconds, the stream's length and
milliseconds, partition, tenant, the record."""

DELETE = """
local count = redis.call('DEL', KEYS[1])
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'op', 'del', 'x', ARGV[1])
redis.call('SET', KEYS[2], id, 'PX', ARGV[3])
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[3], ARGV[4]) end
return {count, id}
"""
"""Keys: entry, mark, stream. Arguments: the entry's key, the stream's length, the mark's and the stream's milliseconds."""

DROP = """
redis.call('DEL', KEYS[1])
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'op', 'drop', 'p', ARGV[4])
redis.call('SET', KEYS[1], id, 'PX', ARGV[1])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
return id
"""
"""Keys: mark, stream. Arguments: the mark's milliseconds, the stream's length and milliseconds, the partition (empty for a tenant)."""

NOTE = """
for number, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[2 * number - 1], 'PX', ARGV[2 * number])
end
"""
"""Keys: one for each note. Arguments: value and milliseconds of each."""
