-- The requests of a folder (messages.py) in turn, and in the end one line of JSON, as client.py prints it.
local BODY_BYTES_JOINED = 100000  -- larger messages are made when they are sent: LuaJIT's memory is bounded
local UNIQUE = "@@@@@@@@@@@@"
local threads = {}
local requests, statuses, number = {}, {}, 0
local min_bytes, max_bytes = math.huge, 0
bad_status, bad_length = 0, 0

function setup(thread)
    table.insert(threads, thread)
end

local function head(method, path, token, length)
    return string.format("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, path)
        .. (token == "-" and "" or "Authorization: Bearer " .. token .. "\r\n")
        .. (length == 0 and "" or "Content-Type: application/json\r\nContent-Length: " .. length .. "\r\n") .. "\r\n"
end

function init(arguments)
    local bodies = { ["-"] = "" }
    for line in io.lines(arguments[1] .. "/requests") do
        local method, path, token, status, least, most, file = line:match(
            "(%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%S+)")
        bodies[file] = bodies[file] or io.open(arguments[1] .. "/" .. file, "rb"):read("*a")
        local first, body = head(method, path, token, #bodies[file]), bodies[file]
        local from, to = body:find(UNIQUE, 1, true)
        if from then
            table.insert(requests, { first .. body:sub(1, from - 1), "%012x", body:sub(to + 1) })
        elseif #body > BODY_BYTES_JOINED then
            table.insert(requests, { first, "", body })
        else
            table.insert(requests, first .. body)
        end
        statuses[tonumber(status)] = true
        min_bytes, max_bytes = math.min(min_bytes, tonumber(least)), math.max(max_bytes, tonumber(most))
    end
end

function request()
    local next = requests[number % #requests + 1]
    number = number + 1
    if type(next) == "string" then
        return next
    end
    return next[1] .. (next[2] == "" and "" or next[2]:format(number)) .. next[3]
end

function response(status, headers, body)
    if not statuses[status] then
        bad_status = bad_status + 1
    elseif #body < min_bytes or #body > max_bytes then
        bad_length = bad_length + 1
    end
end

function done(summary, latency)
    local status, length, failed = 0, 0, summary.errors
    for _, thread in ipairs(threads) do
        status, length = status + thread:get("bad_status"), length + thread:get("bad_length")
    end
    io.write(string.format(
        '\n{"responses": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "faults": {"connect": %d, "read": %d, '
            .. '"write": %d, "timeout": %d, "status": %d, "length": %d}}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        failed.connect, failed.read, failed.write, failed.timeout, status, length))
end
