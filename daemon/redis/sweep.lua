-- Removes those of the given records that a clear has made absent. Looks at each header again: a record
-- written since has a higher seq. KEYS: meta, then record keys. ARGV, with the last of them: epoch, and the
-- seq (19 digits) that was cleared when the sweep began. Answers how many were removed.
-- In meta `sweeping` counts on, so that others see that somebody sweeps; `swept` is the highest `cleared` of
-- which nothing is left.
local epoch, _, _, cleared = meta_read(KEYS[1])
local removed = 0
if not cleared then
    return 0
end
for i = 2, #KEYS do
    local version, seq = record_read(KEYS[i])
    if version and seq <= cleared then
        redis.call('DEL', KEYS[i])
        removed = removed + 1
    end
end
local function field(name)
    return number(redis.call('HGET', KEYS[1], name) or '') or pad('0', 19)
end
if not ARGV[1] then
    redis.call('HSET', KEYS[1], 'sweeping', plain(successor(field('sweeping')) or '1'))
elseif epoch == ARGV[1] and cleared >= ARGV[2] and field('swept') < ARGV[2] then
    redis.call('HSET', KEYS[1], 'swept', plain(ARGV[2]))
end
return removed
