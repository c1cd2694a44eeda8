-- Stands before every script. Versions, seqs and times are decimal digits of a fixed width and compare as
-- text: a Lua number is a double and would lose digits above 2^53.
local MAX = '9223372036854775807'
local SEQ_MAX = '3999999999999999999' -- see types.h

local function pad(digits, width)
    return string.rep('0', width - #digits) .. digits
end

local function plain(digits)
    return string.match(digits, '^0*(.+)$')
end

-- Nineteen digits for a canonical decimal of at most 2^63-1; nil for anything else.
local function number(text)
    if not text or #text > 19 or not (text == '0' or string.find(text, '^[1-9][0-9]*$')) then
        return nil
    end
    local padded = pad(text, 19)
    if padded > MAX then
        return nil
    end
    return padded
end

-- The same of a seq; nil above SEQ_MAX.
local function counted(text)
    local padded = number(text)
    return padded and padded <= SEQ_MAX and padded or nil
end

-- The digits of one more; nil after 2^63-1.
local function successor(digits)
    if digits >= MAX then
        return nil
    end
    local head, digit, nines = string.match(digits, '^(.-)([0-8])(9*)$')
    return head .. string.char(string.byte(digit) + 1) .. string.rep('0', #nines)
end

-- epoch and run are '' where missing or unreadable, seq and cleared nil.
local function meta_read(key)
    local m = redis.pcall('HMGET', key, 'epoch', 'run', 'seq', 'cleared')
    if m.err then
        if string.find(m.err, 'WRONGTYPE', 1, true) then
            return '', '', nil, nil, true
        end
        error(m.err, 0)
    end
    local epoch, run = m[1] or '', m[2] or ''
    if #epoch ~= 32 or not string.find(epoch, '^[0-9a-f]+$') then
        epoch = ''
    end
    if #run > 40 or not string.find(run, '^[0-9a-zA-Z]+$') then
        run = ''
    end
    return epoch, run, counted(m[3]), counted(m[4]), false
end

-- Version, seq, timestamp, flag, write id and length of the source of a stored record. Nothing: absent
-- (an empty string is no record). false: unreadable.
local function record_read(key)
    local got = redis.pcall('GETRANGE', key, 0, 105)
    if type(got) == 'table' then
        if string.find(got.err, 'WRONGTYPE', 1, true) then
            return false
        end
        error(got.err, 0)
    end
    if got == '' then
        return nil
    end
    local digits, flag, tail = string.match(got, '^1([0-9]+)([vt])([0-9a-f]+)$')
    if not digits or #digits ~= 70 or #tail ~= 34 then
        return false
    end
    local version, seq, source_len = string.sub(digits, 1, 19), string.sub(digits, 20, 38), string.sub(tail, 33)
    if version > MAX or seq > SEQ_MAX or not string.find(version, '[1-9]') or not string.find(seq, '[1-9]') or
       not string.find(source_len, '^[0-9]+$') or source_len > '63' then
        return false
    end
    return version, seq, string.sub(digits, 39, 57), flag, string.sub(tail, 1, 32), source_len
end

local function text_of(err)
    return type(err) == 'table' and err.err or tostring(err)
end
