/* The reads that are measured, on Node: Fastify, postgres.js, ioredis and fast-jwt, written to be as fast as possible.

It serves the users and the database of the FastAPI service on rows, with its statements, which it reads as JSON from
standard input. postgres.js sends the next statement of a connection before the last one is answered, ioredis sends
the commands of one turn of the event loop together, and fast-jwt remembers verified tokens. The count is exact: a
response waits for the INCR that has it, which runs beside the work. Each request is a line of the log. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const load = createRequire(`${process.env.PACKAGES}/`);
const fastify = load("fastify"), postgres = load("postgres"), Redis = load("ioredis"), { createVerifier } = load("fast-jwt");

const JSON_TYPES = { from: [114, 3802], to: 114, serialize: String, parse: (text) => text }; // sent as PostgreSQL made it
const LIMIT = 20;
const statements = JSON.parse(readFileSync(0, "utf-8"));
const address = new URL(process.env.DATABASE_URL.replace("///", "//localhost/"));
const sql = postgres({
    path: `${address.searchParams.get("host")}/.s.PGSQL.5432`, user: address.searchParams.get("user"),
    database: address.pathname.slice(1), max: Number(process.env.DATABASE_POOL_SIZE), types: { json: JSON_TYPES },
    connection: { TimeZone: "UTC", jit: "off", statement_timeout: "10s", plan_cache_mode: "force_generic_plan" },
});
const redis = new Redis({ path: process.env.REDIS_URL.replace("unix://", ""), enableAutoPipelining: true });
const verify = createVerifier({ key: process.env.JWT_SECRET, algorithms: ["HS256"], allowedIss: "fastapi", cache: 10_000 });
const app = fastify({ logger: { level: "info", stream: process.stderr }, disableRequestLogging: true });

const run = (statement, values) => sql.unsafe(statement, values, { prepare: true });

const refused = (status) => Object.assign(new Error(), { statusCode: status });

/* The user of the request. */
function owner(request) {
    try {
        return request.userId = verify(request.headers.authorization.replace(/^Bearer /, "")).sub;
    } catch {
        throw refused(401);
    }
}

app.decorateRequest("userId", null);
app.decorateRequest("counted", null);
app.addHook("onRequest", async (request) => { request.counted = redis.incr("fastapi:rows:requests"); });
app.addHook("onSend", async (request, reply) => {
    await request.counted;
    reply.header("x-request-id", randomBytes(16).toString("hex"));
});
app.addHook("onResponse", async (request, reply) => request.log.info({
    request_id: reply.getHeader("x-request-id"), method: request.method, route: request.routeOptions.url,
    status: reply.statusCode, ms: Math.round(10 * reply.elapsedTime) / 10, user_id: request.userId,
}, "request"));

app.get("/collection/", async (request, reply) => {
    const statement = request.query.movies === "false" ? statements.list_brief : statements.list_movies;
    const [row] = await run(statement, [owner(request), LIMIT, null, null]);
    if (!row) throw refused(401);
    const [collections, favourites, count] = Object.values(row);
    reply.type("application/json");
    return `{"is_success":true,"data":{"collections":${collections},"favourite_genres":${JSON.stringify(favourites)}},`
        + `"count":${count},"next":null}\n`;
});

app.get("/collection/:uuid/", async (request, reply) => {
    const [row] = await run(statements.read, [owner(request), request.params.uuid]);
    if (!row) throw refused(404);
    reply.type("application/json");
    return `${Object.values(row)[0]}\n`;
});

app.get("/movies/", async (request, reply) => {
    owner(request);
    const page = Number(request.query.page), cached = await redis.get(`fastapi:page:${page}`);
    if (!cached) throw refused(404);
    const end = cached.indexOf("\n"), [count, following, previous] = JSON.parse(cached.slice(0, end));
    const link = (number) => JSON.stringify(`http://${request.headers.host}/movies/?page=${number}`);
    reply.type("application/json").header("cache-control", "private, max-age=60");
    return `{"count":${count},"next":${following ? link(page + 1) : null},`
        + `"previous":${previous && page > 1 ? link(page - 1) : null},"data":${cached.slice(end + 1)}}\n`;
});

app.get("/request-count/", async (request, reply) => {
    reply.type("application/json");
    return `{"requests":${await request.counted}}\n`;
});

console.log(`listens on ${await app.listen({ host: "127.0.0.1", port: 0 })}`);
