-- Begins a new epoch if meta still is as the daemon saw it.
-- KEYS: meta. ARGV: epoch and run seen ('' where missing), new epoch, new run, lowest seq, lowest cleared (19 digits).
-- Answers P (it is in) or O (meta is another by now).
local epoch, run, seq, cleared, wrong_type = meta_read(KEYS[1])
if epoch ~= ARGV[1] or run ~= ARGV[2] then
    return 'O'
end
local time = redis.call('TIME')
local at_least = pad(time[1] .. pad(time[2], 6), 19)
if ARGV[5] > at_least then
    at_least = ARGV[5]
end
if not seq or seq < at_least then
    seq = at_least
end
if not cleared or cleared < ARGV[6] then
    cleared = ARGV[6]
end
if seq < cleared then
    seq = cleared
end
if wrong_type then
    redis.call('DEL', KEYS[1])
end
-- What was swept of another history may be there again.
redis.pcall('HDEL', KEYS[1], 'swept')
local set = redis.pcall('HSET', KEYS[1], 'epoch', ARGV[3], 'run', ARGV[4], 'seq', plain(seq),
                        'cleared', plain(cleared))
if type(set) == 'table' and set.err then
    return redis.error_reply('ERR HSET: ' .. set.err)
end
return 'P'
