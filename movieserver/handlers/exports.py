"""Collections as files: one as JSON or CSV, all of them as lines of JSON. Each file can be imported."""
from __future__ import annotations

import json
import re
from functools import partial
from urllib.parse import quote

from movieserver.data import collections, exports
from movieserver.data.exports import Position
from movieserver.errors import NotFound
from movieserver.handlers.base import Handler
from movieserver.handlers.collections import NO_COLLECTION, both_spellings, or_not_found, uuid_of
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import ChoiceParameter, CursorParameter
from movieserver.schemas import responses
from movieserver.schemas.import_file import CSV, NDJSON
from movieserver.schemas.movie_csv import movies_as_csv
from movieserver.schemas.requests import MAX_BYTES

FORMAT = ChoiceParameter("format", "The kind of file", choices=("json", "csv"))
CURSOR = CursorParameter(
    "position", "Where the page starts: follow the `Link` of the page before", "^AA[A-Za-z0-9_-]{58}$", Position.parse,
    "`Link`")
NAME_CHARACTERS = 100
TITLE_BYTES = 2048  # more than a title has in JSON
NOT_IN_NAMES = re.compile(r'[\0-\x1f\x7f"*/:<>?\\|]+')


class ExportHandler(Handler):
    """GET /collection/<uuid>/export/?format=json|csv"""

    @Operation(
        "exportCollection", "Export a collection", responses.Collection, response_texts=(CSV,), query=(FORMAT,),
        etag=True, headers=("Content-Disposition",), errors=(NotFound(NO_COLLECTION),),
        description="As JSON, the same as reading it; or as CSV with a line per movie, for spreadsheets and other "
        "services. In CSV, an apostrophe precedes every text that a spreadsheet would take for a formula.")
    async def get(self, segment: str) -> None:
        kind, collection_uuid = self.query(FORMAT), uuid_of(segment)
        collection = or_not_found(await collections.get(self.db, user_id=self.owner, collection_uuid=collection_uuid))
        body = collection.text + b"\n"
        if kind == "csv":
            self.set_header("Content-Type", f"{CSV}; charset=utf-8")
            body = await self.resources.body_threads.run(partial(movies_as_csv, collection.text), len(body))
        self.set_header("Content-Disposition", attachment(f"collection.{kind}", f"{title_of(collection.text)}.{kind}"))
        await self.write_representation(body, collection.version)


class ExportsHandler(Handler):
    """GET /export/"""

    @Operation(
        "exportCollections", "Export all my collections", NDJSON, query=(CURSOR,), etag=True,
        headers=("Link", "Content-Disposition"),
        description="A line of JSON per collection, newest first: the same as reading it, without `shared`. A page "
        f"has at most {MAX_BYTES} bytes, and can be imported as it is; `Link` names the next one. A collection that "
        "is larger has a line on each of several pages.")
    async def get(self) -> None:
        page = await exports.list_page(self.db, user_id=self.owner, start=self.query(CURSOR))
        following = page.next and self.absolute_url(f"/export/?position={page.next}")
        self.set_links(next=following)
        self.set_header("Content-Type", NDJSON)
        self.set_header("Content-Disposition", attachment("collections.ndjson"))
        await self.write_representation(page.lines)


def attachment(name: str, unicode_name: str | None = None) -> str:
    """Content-Disposition of a file to be saved (RFC 6266), with a name in ASCII and perhaps one in Unicode."""
    return f'attachment; filename="{name}"' + (
        f"; filename*=UTF-8''{quote(unicode_name, safe='')}" if unicode_name else "")


def title_of(collection: bytes) -> str:
    """The title of a collection in JSON, as the name of a file."""
    start = collection.index(b'"title":') + len(b'"title":')
    title: str
    title, _ = json.JSONDecoder().raw_decode(collection[start:start + TITLE_BYTES].decode("utf-8", "ignore"))
    return " ".join(NOT_IN_NAMES.sub(" ", title).split()).strip(".")[:NAME_CHARACTERS] or "collection"


routes = [
    *both_spellings("{collection_uuid}/export/", ExportHandler), Route("/export/", ExportsHandler, protected=True)]
