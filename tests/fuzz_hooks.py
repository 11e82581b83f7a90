"""How schemathesis sends the texts that it generates for bodies that are files."""
from __future__ import annotations

import schemathesis


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_it_is(ctx: schemathesis.SerializationContext, value: object) -> bytes:
    """The text itself."""
    return str(value).encode("utf-8", "surrogatepass")
