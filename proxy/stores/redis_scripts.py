"""The Lua that Redis runs: each step that must be whole.

Owns the sources. Every script names all its keys, looks before it writes, and writes the stream first: what
Redis refuses (no memory, a replica, too few replicas) it refuses at the first write, and nothing is half
done. Numbers that could grow beyond what Lua keeps exactly are handed in as text. Must never know why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A source, and the name by which Redis knows it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


_NOW: Final = """
local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

ABOUT: Final = Script("""
-- KEYS any of ours, so that in a cluster the right server answers
return redis.call('INFO', 'server') .. redis.call('INFO', 'memory')
""")

_END: Final = """
local function chain_end(head_key, audit_key)
    local head = redis.call('HMGET', head_key, 'format', 'seq', 'hash', 'adopted', 'trimmed', 'trimmed_hash')
    local last, mark = '0-0', false
    if redis.call('EXISTS', audit_key) == 1 then
        local told = redis.call('XINFO', 'STREAM', audit_key)
        for i = 1, #told, 2 do
            if told[i] == 'last-generated-id' then last = told[i + 1] end
        end
        local newest = redis.call('XREVRANGE', audit_key, '+', '-', 'COUNT', 1)[1]
        if newest then
            for i = 1, #newest[2], 2 do
                if newest[2][i] == 'hash' then mark = newest[2][i + 1] end
            end
        end
    end
    return {head[1], head[2], head[3], head[4], last, mark, head[5], head[6]}
end
"""

CALL: Final = Script("""
-- KEYS of the command. ARGV command, the rest. The library reads no meaning into a script's answer.
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
""")

LOOK: Final = Script(
    _NOW
    + _END
    + """
-- KEYS head, audit, states. ARGV rollout. What a commit has to know beforehand.
return {chain_end(KEYS[1], KEYS[2]), redis.call('HGET', KEYS[3], ARGV[1]), now_ms()}
"""
)

COMMIT: Final = Script(
    _NOW
    + """
-- KEYS head, states, overrides, audit, lease
-- ARGV deadline ms, format, head's seq, head's hash, lease, rollout, state before, state after, seq, record,
--      hash, adopted, channel, override's field, override; '' for none
if now_ms() > tonumber(ARGV[1]) then return 'late' end
if ARGV[5] ~= '' and redis.call('GET', KEYS[5]) ~= ARGV[5] then return 'fenced' end
local head = redis.call('HMGET', KEYS[1], 'seq', 'hash')
if (head[1] or '') ~= ARGV[3] or (head[2] or '') ~= ARGV[4] then return 'moved' end
if (redis.call('HGET', KEYS[2], ARGV[6]) or '') ~= ARGV[7] then return 'moved' end
if ARGV[14] ~= '' then redis.call('HEXISTS', KEYS[3], ARGV[14]) end -- fails now if it is no hash, not later
redis.call('XADD', KEYS[4], ARGV[9] .. '-0', 'rollout', ARGV[6], 'record', ARGV[10], 'hash', ARGV[11])
redis.call('HSET', KEYS[1], 'format', ARGV[2], 'seq', ARGV[9], 'hash', ARGV[11], 'adopted', ARGV[12])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[2], ARGV[6], ARGV[8]) end
if ARGV[14] ~= '' then
    if ARGV[15] ~= '' then redis.call('HSET', KEYS[3], ARGV[14], ARGV[15])
    else redis.call('HDEL', KEYS[3], ARGV[14]) end
end
redis.call('PUBLISH', ARGV[13], ARGV[9])
return 'done'
"""
)

TRIM: Final = Script("""
-- KEYS head, audit. ARGV seq, hash. Forget that event and all before it, and remember what it was.
local entry = redis.call('XRANGE', KEYS[2], ARGV[1] .. '-0', ARGV[1] .. '-0')[1]
if not entry or #redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+', 'COUNT', 1) == 0 then return 0 end
local mark = false
for i = 1, #entry[2], 2 do
    if entry[2][i] == 'hash' then mark = entry[2][i + 1] end
end
if mark ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'trimmed', ARGV[1], 'trimmed_hash', ARGV[2])
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[1] .. '-1')
return 1
""")

SNAPSHOT: Final = Script(
    _END
    + """
-- KEYS head, audit, states, overrides
return {chain_end(KEYS[1], KEYS[2]), redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4])}
"""
)

PAGE: Final = Script(
    _END
    + """
-- KEYS head, audit. ARGV first id, limit
return {chain_end(KEYS[1], KEYS[2]), redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])}
"""
)

OF_ROLLOUT: Final = Script("""
-- KEYS audit. ARGV command, from, to, limit, rollout. The events of one rollout among the next thousand, and
-- the id of the last that was looked at, '' at the end.
local page = redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3], 'COUNT', 1000)
local found, last = {}, ''
for _, entry in ipairs(page) do
    last = entry[1]
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'rollout' and entry[2][i + 1] == ARGV[5] then found[#found + 1] = entry end
    end
    if #found == tonumber(ARGV[4]) then break end
end
if #page < 1000 and (#page == 0 or last == page[#page][1]) then last = '' end
return {last, found}
""")

EXCHANGE: Final = Script(
    _NOW
    + _END
    + """
-- KEYS head, audit, lease, fence, reports, members, seen
-- ARGV epoch, instance, record, stands, lease ms, member ms, window ms, then number and report of each
local now = now_ms()
local me = ARGV[1] .. ' ' .. ARGV[2]
for i = 8, #ARGV, 2 do
    redis.call('XADD', KEYS[5], 'MINID', '~', string.format('%.0f', now - ARGV[7]), '*',
        'epoch', ARGV[1], 'instance', ARGV[2], 'number', ARGV[i], 'report', ARGV[i + 1])
end
redis.call('HSET', KEYS[6], me, string.format('%.0f', now) .. ' ' .. ARGV[3])
redis.call('ZADD', KEYS[7], now + ARGV[6], me)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, 20)) do
    redis.call('ZREM', KEYS[7], gone)
    redis.call('HDEL', KEYS[6], gone)
end
local lease = redis.call('GET', KEYS[3])
local given = lease and string.match(lease, '^(%d+) %S+ %S')
if lease and (not given or #given > 16 or #lease > 1024) then lease = false end -- nobody's
if lease and redis.call('PTTL', KEYS[3]) == -1 then redis.call('PEXPIRE', KEYS[3], ARGV[5]) end
if ARGV[4] == '1' then
    if not lease then
        -- by the clock too: a store that has lost the highest token gives none twice
        local last = tonumber(redis.call('GET', KEYS[4])) or 0
        if not (last < 9e15) then last = 0 end -- nothing that was ever given
        local token = string.format('%.0f', math.max(last + 1, now))
        lease = token .. ' ' .. me
        redis.call('SET', KEYS[4], token)
        redis.call('SET', KEYS[3], lease, 'PX', ARGV[5])
    elseif string.gsub(lease, '^%d+ ', '', 1) == me then
        redis.call('PEXPIRE', KEYS[3], ARGV[5])
    end
end
return {
    now,
    chain_end(KEYS[1], KEYS[2]),
    lease,
    redis.call('PTTL', KEYS[3]),
}
"""
)

LEAVE: Final = Script("""
-- KEYS lease, members, seen. ARGV epoch, instance
local me = ARGV[1] .. ' ' .. ARGV[2]
local lease = redis.call('GET', KEYS[1])
if lease and string.gsub(lease, '^%d+ ', '', 1) == me then redis.call('DEL', KEYS[1]) end
redis.call('HDEL', KEYS[2], me)
redis.call('ZREM', KEYS[3], me)
return 1
""")

MEMBERS: Final = Script(
    _NOW
    + """
-- KEYS members, seen
-- ARGV at most so many, bytes of one, bytes of all
local found, total = {}, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], now_ms(), '+inf', 'LIMIT', 0, ARGV[1])) do
    local size = redis.call('HSTRLEN', KEYS[1], name) + #name
    if size <= tonumber(ARGV[2]) then
        total = total + size
        if total > tonumber(ARGV[3]) then break end
        found[#found + 1] = {name, redis.call('HGET', KEYS[1], name)}
    end
end
return found
"""
)

ENTRIES: Final = Script("""
-- KEYS a stream, and a string that is told at the stream's end
-- ARGV first id, limit, bytes of one, bytes of all, names of fields
-- Of each entry its id and these fields, as two texts: how long each part is, and all of them. For a single
-- part of an answer the library takes as long as we do for a report. What is missing or too long is empty.
local lengths, parts, total = {}, {}, 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
    local fields, size = {}, 0
    for i = 1, #entry[2], 2 do
        fields[entry[2][i]] = entry[2][i + 1]
        size = size + #entry[2][i] + #entry[2][i + 1]
    end
    if size > tonumber(ARGV[3]) then fields, size = {}, 0 end
    total = total + size
    if total > tonumber(ARGV[4]) then break end
    parts[#parts + 1] = entry[1]
    lengths[#lengths + 1] = #entry[1]
    for i = 5, #ARGV do
        local part = fields[ARGV[i]] or ''
        parts[#parts + 1] = part
        lengths[#lengths + 1] = #part
    end
end
local beside = ''
if #parts == 0 and KEYS[2] and redis.call('STRLEN', KEYS[2]) <= tonumber(ARGV[3]) then
    beside = redis.call('GET', KEYS[2]) or ''
end
return {table.concat(lengths, ' '), table.concat(parts), beside}
""")

KEEP_JOURNAL: Final = Script(
    _NOW
    + """
-- KEYS lease, journal, heard. ARGV lease, window ms, begin anew, heard, then ms and text of each entry
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then redis.call('DEL', KEYS[2], KEYS[3]) end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^(%d+)')) or 0
if last > tonumber(ARGV[#ARGV - 1]) then -- nothing that a judge has written
    redis.call('DEL', KEYS[2], KEYS[3])
    last = 0
end
local oldest = string.format('%.0f', now_ms() - ARGV[2])
for i = 5, #ARGV, 2 do
    if tonumber(ARGV[i]) > last then -- else it was written though we have not heard so
        redis.call('XADD', KEYS[2], 'MINID', '~', oldest, ARGV[i] .. '-0', 'entry', ARGV[i + 1])
    end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[2])
return 1
"""
)

KEEP_MINUTES: Final = Script("""
-- KEYS index, then the minutes of each rollout
-- ARGV number of names, names, then key's number, instant, member of each minute
local names = tonumber(ARGV[1])
for i = names + 2, #ARGV, 3 do
    local key = KEYS[1 + ARGV[i]]
    if redis.call('ZCOUNT', key, ARGV[i + 1], ARGV[i + 1]) == 0 then
        redis.call('ZADD', key, ARGV[i + 1], ARGV[i + 2])
    end
end
for i = 1, names do redis.call('SADD', KEYS[1], ARGV[1 + i]) end
return 1
""")

PRUNE_MINUTES: Final = Script("""
-- KEYS index, then the minutes of each rollout. ARGV before, limit, names
local oldest = {}
for i = 2, #KEYS do
    local some = redis.call(
        'ZRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
    for j = 1, #some, 2 do oldest[#oldest + 1] = {tonumber(some[j + 1]), i, some[j]} end
end
table.sort(oldest, function(one, other) return one[1] < other[1] end)
local gone = math.min(#oldest, tonumber(ARGV[2]))
for i = 1, gone do redis.call('ZREM', KEYS[oldest[i][2]], oldest[i][3]) end
for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then redis.call('SREM', KEYS[1], ARGV[i + 1]) end
end
return gone
""")

STAGE: Final = Script("""
-- KEYS where to. ARGV ms, then seq, rollout, record, hash of each event
for i = 2, #ARGV, 4 do
    redis.call('XADD', KEYS[1], ARGV[i] .. '-0',
        'rollout', ARGV[i + 1], 'record', ARGV[i + 2], 'hash', ARGV[i + 3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
""")

REFILL: Final = Script("""
-- KEYS head, states, overrides, audit, staged
-- ARGV format, head's seq, head's hash, count, seq, hash, adopted, channel, seq and hash of the last event
--      that was forgotten or '', number of states, then field and text of each state and of each override
local head = redis.call('HMGET', KEYS[1], 'seq', 'hash')
if (head[1] or '') ~= ARGV[2] or (head[2] or '') ~= ARGV[3] then return 'moved' end
if redis.call('XLEN', KEYS[5]) ~= tonumber(ARGV[4]) then return 'moved' end
if ARGV[4] == '0' then -- states alone were lost
elseif redis.call('EXISTS', KEYS[4]) == 0 then
    redis.call('RENAME', KEYS[5], KEYS[4])
    redis.call('PERSIST', KEYS[4])
else
    local from = '-'
    while true do
        local page = redis.call('XRANGE', KEYS[5], from, '+', 'COUNT', 500)
        if #page == 0 then break end
        for _, entry in ipairs(page) do
            redis.call('XADD', KEYS[4], entry[1], unpack(entry[2]))
            from = '(' .. entry[1]
        end
    end
    redis.call('DEL', KEYS[5])
end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'seq', ARGV[5], 'hash', ARGV[6], 'adopted', ARGV[7])
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'trimmed', ARGV[9], 'trimmed_hash', ARGV[10]) end
redis.call('DEL', KEYS[2], KEYS[3])
local states = 11 + 2 * ARGV[11]
for i = 12, states, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = states + 1, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('PUBLISH', ARGV[8], ARGV[5])
return 'done'
""")
