-- Removes those of the given records that a clear has made absent. Looks at each header again: a record
-- written since has a higher seq. KEYS: meta, then record keys. Answers how many were removed.
local _, _, _, cleared = meta_read(KEYS[1])
local removed = 0
if cleared then
    for i = 2, #KEYS do
        local version, seq = record_read(KEYS[i])
        if version and seq <= cleared then
            redis.call('DEL', KEYS[i])
            removed = removed + 1
        end
    end
end
return removed
