-- One request again and again, and in the end one line of JSON. Arguments: method, file with the body.
function init(given)
    wrk.method = given[1]
    wrk.body = io.open(given[2], "rb"):read("*a")
    if wrk.body == "" then
        wrk.body = nil
    end
end

function done(summary, latency)
    local failed = summary.errors
    io.write(string.format(
        '\n{"answers": %d, "seconds": %.6f, "middle": %.3f, "late": %.3f, "errors": '
            .. '{"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests - failed.status, summary.duration / 1e6, latency:percentile(50) / 1000,
        latency:percentile(99) / 1000, failed.connect, failed.read, failed.write, failed.status, failed.timeout))
end
