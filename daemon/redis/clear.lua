-- Ends the epoch and makes every record so far absent.
-- KEYS: meta. ARGV: epoch, run, deadline, channel, the new epoch. Answers like write.lua, for one write.
local changed = false

local function clear()
    local epoch, run, seq, cleared = meta_read(KEYS[1])
    if epoch == '' or run == '' or epoch ~= ARGV[1] or run ~= ARGV[2] or not seq or not cleared then
        return 'W'
    end
    local time = redis.call('TIME')
    if pad(time[1] .. pad(time[2], 6), 19) > ARGV[3] then
        return 'X'
    end
    redis.call('HSET', KEYS[1], 'cleared', plain(seq), 'epoch', ARGV[5])
    changed = true
    redis.call('PUBLISH', ARGV[4], 'M1c' .. ARGV[5] .. '000000000000000000' .. seq)
    return 'L' .. pad('0', 19) .. seq .. pad(time[1] .. pad(time[2], 6) .. '000', 19)
end

local ok, result = pcall(clear)
if not ok then
    result = (changed and 'U' or 'E') .. text_of(result)
end
return {result}
