"""What Redis does in one step, as Lua: entries, deletions and notes.

A deletion leaves a mark beside the entry: the id of its record in the stream. Whoever stores says which record it had seen when
its request began (``since``); a store that began before the deletion is refused, on whichever pod, however late. Ids of one
stream are a clock that all pods share, so no pod's own clock matters.

Invariants: all keys are passed as keys and lie in one slot; a deletion begins with what a full server still allows, and
Redis lets a script that has written go on.
"""

from __future__ import annotations

PUT = """
local deleted = ARGV[1] ~= '' and redis.call('GET', KEYS[2])
if deleted then
  local ms, number = string.match(ARGV[1], '^(%d+)-(%d+)$')
  local deleted_ms, deleted_number = string.match(deleted, '^(%d+)-(%d+)$')
  local later = tonumber(ms) - tonumber(deleted_ms)
  if later < 0 or (later == 0 and tonumber(number) < tonumber(deleted_number)) then return 0 end
end
redis.call('HSET', KEYS[1], 'entry', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if #ARGV > 5 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 6))
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return 1
"""
"""Keys: entry, mark, stream. Arguments: since, value, its milliseconds, the stream's length and milliseconds, the record."""

DELETE = """
local count = redis.call('DEL', KEYS[1])
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'op', 'del', 'x', ARGV[1])
redis.call('SET', KEYS[2], id, 'PX', ARGV[3])
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[3], ARGV[4]) end
return {count, id}
"""
"""Keys: entry, mark, stream. Arguments: the entry's key, the stream's length, the mark's and the stream's milliseconds."""

NOTE = """
for number, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[2 * number - 1], 'PX', ARGV[2 * number])
end
"""
"""Keys: one for each note. Arguments: value and milliseconds of each."""
