"""The texts of /openapi.json that belong to no route: about the API as a whole, and about headers."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import movieserver
from movieserver.http.headers import REQUEST_ID
from movieserver.http.idempotency import KEY

Json = dict[str, Any]
# parameters by name, request bodies by model, responses by operation or model
EXAMPLES: Json = json.loads((Path(__file__).parent / "examples.json").read_text(encoding="utf-8"))
INFO = {
    "title": "movieserver", "version": movieserver.__version__,
    "description": "Collections of movies. Each belongs to the user who created it.\n\n"
    "Every path works with and without its trailing slash, `/collections/` is another spelling of `/collection/`, HEAD "
    "works wherever GET does, and OPTIONS works everywhere. A method that a path does not support is 405 with `Allow`."
    "\n\n"
    "Every error is a problem detail (RFC 9457); programs read its `code`.\n\n"
    "Optional request headers are not listed among the parameters, because some tools send every parameter with a "
    "made-up value. `x-request-headers` names those that an operation supports. `If-None-Match` saves reading again "
    "what you have (304), `If-Match` prevents overwriting a version that you have not seen (412), `Idempotency-Key` "
    "makes it safe to send a request again, and `X-Request-ID` sets the id of the request in the log.",
    "contact": {"name": "The movieserver authors"},
    "license": {"name": "MIT", "identifier": "MIT"},
}
SERVER = "This server"
SECURITY = {
    "accessToken": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "The `access_token` of /register/, /login/ or /refresh/.",
    },
    "personalToken": {
        "type": "http", "scheme": "bearer", "bearerFormat": "msv_…",
        "description": "The `token` of POST /tokens/, for scripts. With the scope `read` it cannot change anything.",
    },
    "resetToken": {
        "type": "http", "scheme": "bearer",
        "description": "The setting COUNTER_RESET_TOKEN, if the operator has set it; otherwise no token is needed.",
    },
}
TEXT = {"type": "string"}
TAGS = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'}
REQUEST_HEADERS = {
    name: {"schema": schema, "description": description, "example": EXAMPLES["parameters"][name]}
    for name, schema, description in (
        ("X-Request-ID", TEXT, f"Your own id for this request: `{REQUEST_ID.pattern}`. Other values are ignored."),
        ("If-None-Match", TAGS, "Entity tags that you have; 304 for a read and 412 for a change if one is current."),
        ("If-Match", TAGS, "Entity tags, one of which must be current; otherwise 412."),
        ("Idempotency-Key", {"type": "string", "pattern": f"^{KEY.pattern}$"},
         "A new key for each new request. For a day, a second request with the key does nothing and gets the first "
         "response."),
    )
}
RESPONSE_HEADERS = {
    "X-Request-ID": ({"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}, "The id of this request in the log."),
    "X-Content-Type-Options": ({"type": "string", "const": "nosniff"}, "Browsers must not guess the type."),
    "Cache-Control": (TEXT, "Who may store the response, and for how long."),
    "ETag": ({"type": "string", "pattern": '^"[^"]+"$'}, "The version, for If-Match and If-None-Match."),
    "Location": (TEXT, "The address of the new resource."),
    "Link": (TEXT, "The next and the previous page (RFC 8288), if there are any."),
    "Content-Disposition": (TEXT, "The name of the file (RFC 6266)."),
    "Age": ({"type": "string", "pattern": "^[0-9]+$"}, "Seconds since the page was fetched."),
    "X-Robots-Tag": ({"type": "string", "const": "noindex"}, "Search engines must not show it."),
    "Vary": (TEXT, "The request headers that the response depends on."),
    "Retry-After": ({"type": "string", "pattern": "^[0-9]+$"}, "Seconds to wait before the next attempt."),
    "WWW-Authenticate": (
        {"type": "string", "pattern": '^Bearer( error="insufficient_scope")?$'},
        "The scheme of Authorization (RFC 6750)."),
}
ALWAYS = ("X-Request-ID", "X-Content-Type-Options", "Cache-Control")
OPTIONAL = {"Link"}


def headers(*names: str) -> Json:
    """References to response headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def header(name: str, *, required: bool) -> Json:
    """A response header."""
    schema, description = RESPONSE_HEADERS[name]
    return {"description": description, "required": required, "schema": schema}


def response_headers() -> Json:
    """All response headers, by name."""
    return {name: header(name, required=name not in OPTIONAL) for name in RESPONSE_HEADERS}
