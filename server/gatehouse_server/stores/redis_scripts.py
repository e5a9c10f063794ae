"""What Redis runs on its side: each script is atomic, so that comparing and setting are one.

A script first compares the store's name in the meta key with the one it was opened under: a Redis that was emptied
or replaced under a running server is an error then, not a store without sessions. And it does nothing when it comes
late: when its caller has given it up, and has made its fence to say so.

Numbers stay decimal strings and are compared as such: Lua's are doubles, exact below 2^53 only.

A Redis without room refuses what takes memory, but not in a script that has written before: what has to work then,
erasing and closing a fence, begins with a command that only takes away.

Keys, all beginning with the prefix: `meta` a hash (format, store, secret, sessions: how many, probed: when somebody
last tried whether Redis takes anything); `session:ID` a hash (the FIELDS, `head`, and each part under `part:NAME`);
`ids` all identifiers with score 0, to page through; `expiry` the same with the time they end; `tombs` a hash from
identifier to tombstone; `burials` those identifiers with the time they were buried; `fence:LINK:NUMBER` for an hour,
after a connection whose last question had no answer.

Replies are a kind and what belongs to it: `record` the FIELDS, `whole` a whole hash, `tombstone` its text, `nothing`.
"""

from __future__ import annotations

from typing import Final

FIELDS: Final = ("model", "owner", "incarnation", "revision", "position", "expires", "request", "size")
"""The summary in a session's hash, in the order of a `record` reply. `request` may be missing."""

EMPTIED: Final = "GATEHOUSE_EMPTIED"
"""Begins the error of a script that does not find the store it was opened under."""

_PREAMBLE = f"""
local fence, meta, ids, expiry, tombs, burials, record = unpack(KEYS)
if redis.call('EXISTS', fence) == 1 then return redis.error_reply('GATEHOUSE_LATE') end
if redis.call('HGET', meta, 'store') ~= ARGV[1] then return redis.error_reply('{EMPTIED}') end
local function fields(of) return redis.call('HMGET', of, {", ".join(f"'{name}'" for name in FIELDS)}) end
local function at_most(a, b)
  if #a ~= #b then return #a < #b end
  return a <= b
end
local function standing(id)
  if redis.call('EXISTS', record) == 1 then return {{'record', fields(record)}} end
  local tombstone = redis.call('HGET', tombs, id)
  if tombstone then return {{'tombstone', tombstone}} end
  return {{'nothing'}}
end
local function erase(id, hash, tombstone, now)
  redis.call('ZREM', ids, id)
  redis.call('ZADD', burials, now, id)
  redis.call('HSET', tombs, id, tombstone)
  redis.call('ZREM', expiry, id)
  redis.call('HINCRBY', meta, 'sessions', -1)
  redis.call('UNLINK', hash)
end
"""

# ARGV: store, id, creates, model, owner, incarnation, revision, position, expires, number of requests (0 or 1), of
# dropped, of parts, head, then requests, names of dropped, names and contents of parts; last the revisions that the
# record may be at, between commas, or nothing.
# The time comes first of what is written: it is the only value that Redis could refuse.
APPLY: Final = (
    _PREAMBLE
    + """
local id, creates, model, owner, incarnation, revision = unpack(ARGV, 2, 7)
local found = fields(record)
if found[1] then
  local mine = found[2] == owner and found[3] == incarnation
  if not mine then return {'record', found} end
  if not at_most(found[4], revision) then
    if creates == '1' then return {'applied'} end
    return {'record', found}
  end
  local follows = ARGV[#ARGV]
  if follows ~= '' and not string.find(follows, ',' .. found[4] .. ',', 1, true) then return {'record', found} end
  creates = '0'
elseif creates == '0' then
  return {'nothing'}
end
redis.call('ZADD', expiry, ARGV[9], id)
if creates == '1' then
  redis.call('ZADD', ids, 0, id)
  redis.call('HINCRBY', meta, 'sessions', 1)
  redis.call('HDEL', tombs, id)
  redis.call('ZREM', burials, id)
end
local size = tonumber(found[8] or '0')
local function put(name, content)
  size = size - redis.call('HSTRLEN', record, name) + #content
  redis.call('HSET', record, name, content)
end
put('head', ARGV[13])
local at = 14
if ARGV[10] == '1' then
  redis.call('HSET', record, 'request', ARGV[at])
  at = at + 1
else
  redis.call('HDEL', record, 'request')
end
for _ = 1, tonumber(ARGV[11]) do
  local name = 'part:' .. ARGV[at]
  size = size - redis.call('HSTRLEN', record, name)
  redis.call('HDEL', record, name)
  at = at + 1
end
for _ = 1, tonumber(ARGV[12]) do
  put('part:' .. ARGV[at], ARGV[at + 1])
  at = at + 2
end
redis.call('HSET', record, 'model', model, 'owner', owner, 'incarnation', incarnation, 'revision', revision,
  'position', ARGV[8], 'expires', ARGV[9], 'size', string.format('%.0f', size))
return {'applied'}
"""
)

# ARGV: store, id, owner, incarnation.
CLAIM: Final = (
    _PREAMBLE
    + """
local id, owner, incarnation = unpack(ARGV, 2, 4)
local function one_more(number)
  local nines = #string.match(number, '9*$')
  local rest = string.sub(number, 1, #number - nines)
  if rest == '' then rest = '0' end
  return string.sub(rest, 1, -2) .. (tonumber(string.sub(rest, -1)) + 1) .. string.rep('0', nines)
end
local found = redis.call('HMGET', record, 'owner', 'incarnation')
if not found[1] then return standing(id) end
if found[1] ~= owner then
  if at_most(incarnation, found[2]) then incarnation = one_more(found[2]) end
  redis.call('HSET', record, 'owner', owner, 'incarnation', incarnation)
end
return {'whole', redis.call('HGETALL', record)}
"""
)

# ARGV: store, id.
LOOK: Final = _PREAMBLE + "return standing(ARGV[2])"

# ARGV: store, id, tombstone, now, and an incarnation, if only that one is meant.
REMOVE: Final = (
    _PREAMBLE
    + """
local id, tombstone, now, incarnation = unpack(ARGV, 2, 5)
local before = standing(id)
if before[1] == 'record' and (not incarnation or before[2][3] == incarnation) then
  erase(id, record, tombstone, now)
end
return before
"""
)

# ARGV: store, begin of a session's key, identifier before the page, number.
AFTER: Final = (
    _PREAMBLE
    + """
local page = redis.call('ZRANGEBYLEX', ids, '(' .. ARGV[3], '+', 'LIMIT', 0, ARGV[4])
for n, id in ipairs(page) do page[n] = {id, fields(ARGV[2] .. id)} end
return page
"""
)

# ARGV: store, begin of a session's key, now, most to erase, tombstone, time before which tombstones are forgotten,
# number of them that may stay, most to forget (twice).
EXPIRE: Final = (
    _PREAMBLE
    + """
local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(due) do erase(id, ARGV[2] .. id, ARGV[5], ARGV[3]) end
local function forget(buried)
  if #buried > 0 then
    redis.call('HDEL', tombs, unpack(buried))
    redis.call('ZREM', burials, unpack(buried))
  end
end
forget(redis.call('ZRANGEBYSCORE', burials, '-inf', '(' .. ARGV[6], 'LIMIT', 0, ARGV[8]))
local beyond = math.min(redis.call('ZCARD', burials) - tonumber(ARGV[7]), tonumber(ARGV[8]))
if beyond > 0 then forget(redis.call('ZRANGE', burials, 0, beyond - 1)) end
return #due
"""
)

# ARGV: store.
COUNT: Final = _PREAMBLE + "return redis.call('ZCARD', ids)"

# ARGV: store, now.
PROBE: Final = _PREAMBLE + "return redis.call('HSET', meta, 'probed', ARGV[2])"

# KEYS: the fence. ARGV: for how many seconds.
CLOSE_FENCE: Final = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])"

# KEYS as everywhere, ARGV: format, store, secret. Returns what the meta key holds now, the numbers of sessions in `ids`
# and in `expiry`, and how many of the keys beside meta there are. Meta is made only where there is nothing at all.
OPEN: Final = """
local meta, ids, expiry = unpack(KEYS, 2, 4)
local kept = redis.call('EXISTS', unpack(KEYS, 3))
if redis.call('EXISTS', meta) == 0 and kept == 0 then
  redis.call('HSET', meta, 'format', ARGV[1], 'store', ARGV[2], 'secret', ARGV[3], 'sessions', 0)
end
local found = redis.call('HMGET', meta, 'format', 'store', 'secret', 'sessions')
return {found, redis.call('ZCARD', ids), redis.call('ZCARD', expiry), kept}
"""
