-- Commits several keys, each with its own outcome.
-- KEYS: meta, then one per write. ARGV: epoch, run, channel, source, then nine per write (FIELDS).
-- Answers one text per write: a letter (see write.c), then version, seq and timestamp of the stored record
-- where there is one; E and U are followed by the text of an error, E if nothing was stored.
local FIELDS = 9
local epoch, run, channel, source = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local seq, cleared, now_us, now_ns, now_ms, stored
local at = '' -- the command under way: Redis does not say which one a user has no right to

local function write_one(key, op, name, version, ttl, id, retry, carry, deadline, value)
    if now_us > deadline then
        return 'X'
    end
    local old_version, old_seq, old_time, old_flag, old_id, old_source_len = record_read(key)
    if old_version == false then
        return 'B'
    end
    if old_version and old_seq <= cleared then
        old_version = nil
    end
    local flag = op == 's' and 'v' or 't'
    local base = seq
    if old_version then
        local old = old_version .. old_seq .. old_time
        if old_id == id then
            return 'D' .. old
        end
        if version == '' then
            if retry == '1' then
                return 'I' .. old
            end
        elseif version < old_version then
            return (retry == '1' and 'I' or 'S') .. old
        elseif version == old_version then
            at = 'GET: '
            if flag == old_flag and
               string.sub(redis.call('GET', key), 107 + tonumber(old_source_len)) == value then
                return 'D' .. old
            end
            return 'C' .. old
        end
        -- A record beyond seq is left over from a lost meta: seq goes on behind it.
        if old_seq > base then
            base = old_seq
        end
    end
    local next_seq = successor(base)
    if next_seq > SEQ_MAX then
        return 'H'
    end
    if version == '' then
        version = next_seq
        if old_version and old_version >= next_seq then
            version = successor(old_version)
            if not version then
                return 'H'
            end
        end
    end
    local expiry = '0000000000000'
    if ttl ~= '0' then
        expiry = pad(string.format('%.0f', now_ms + tonumber(ttl)), 13)
    end

    at = 'HSET: '
    -- seq first: what fails after it leaves a gap that every pod notices.
    redis.call('HSET', KEYS[1], 'seq', plain(next_seq))
    seq = next_seq
    local head = '1' .. version .. seq .. now_ns .. expiry
    local tail = id .. pad(tostring(#source), 2) .. source
    local record = head .. flag .. tail .. value
    at = 'SET: '
    if ttl == '0' then
        redis.call('SET', key, record)
    else
        redis.call('SET', key, record, 'PX', ttl)
    end
    stored = true
    if flag == 'v' and carry ~= '1' then
        record = head .. 'b' .. tail
    end
    at = 'PUBLISH: '
    redis.call('PUBLISH', channel, 'M1r' .. epoch .. pad(ttl, 13) .. pad(tostring(#name), 5) .. name .. record)
    return 'A' .. version .. seq .. now_ns
end

local results = {}

local function all(result)
    for i = 2, #KEYS do
        results[i - 1] = result
    end
    return results
end

local ok, at_epoch, at_run
ok, at_epoch, at_run, seq, cleared = pcall(meta_read, KEYS[1])
if not ok then
    return all('E' .. 'HMGET: ' .. text_of(at_epoch))
end
if epoch == '' or run == '' or at_epoch ~= epoch or at_run ~= run or not seq or not cleared or cleared > seq then
    return all('W')
end
local time = redis.pcall('TIME')
if time.err then
    return all('E' .. time.err)
end
local usec = pad(time[2], 6)
now_us = pad(time[1] .. usec, 19)
now_ns = pad(time[1] .. usec .. '000', 19)
now_ms = tonumber(time[1] .. string.sub(usec, 1, 3))
for i = 2, #KEYS do
    stored, at = false, 'GETRANGE: '
    local done, result = pcall(write_one, KEYS[i], unpack(ARGV, 5 + (i - 2) * FIELDS, 4 + (i - 1) * FIELDS))
    if not done then
        result = (stored and 'U' or 'E') .. at .. text_of(result)
    end
    results[i - 1] = result
end
return results
