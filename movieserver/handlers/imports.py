"""Import of files: exports of this server, and the CSV files of Letterboxd, IMDb and Trakt."""
from __future__ import annotations

from functools import partial
from typing import Any

from movieserver.data import collections, imports
from movieserver.errors import NotFound, Unauthenticated
from movieserver.handlers.authentication import USER_GONE
from movieserver.handlers.base import Handler
from movieserver.handlers.collections import NO_COLLECTION, or_not_found, uuid_of
from movieserver.openapi.operation import Operation, Route
from movieserver.openapi.parameters import TextParameter
from movieserver.schemas import responses
from movieserver.schemas.import_file import CSV, MAX_ERRORS, NDJSON, ImportedCollection, ImportFile, read_file
from movieserver.schemas.movies import MAX_COLLECTION_BYTES, MAX_MOVIES
from movieserver.schemas.texts import UUID_PATTERN

INTO = TextParameter("into", "The uuid of one of your collections, to which all movies are added", pattern=UUID_PATTERN)
FULL = (
    f"The collection would hold more than {MAX_MOVIES} movies or {MAX_COLLECTION_BYTES} bytes of them; no movie of "
    "this line was added")


class ImportHandler(Handler):
    """POST /import/?into="""

    @Operation(
        "importCollections", "Import a file", responses.Imported, body=ImportedCollection, body_texts=(CSV, NDJSON),
        query=(INTO,), errors=(NotFound(NO_COLLECTION),),
        description="A file from an export, or a CSV file of Letterboxd, IMDb or Trakt. Movies that a collection "
        "already has do not change, so a file can be sent again. Lines of CSV and NDJSON that cannot be read are "
        f"skipped; `errors` has the reasons for the first {MAX_ERRORS}. JSON is imported as a whole or not at all.")
    async def post(self) -> None:
        kind, segment, body = self.body_type(ImportedCollection), self.query(INTO), self.request.body
        file = await self.resources.body_threads.run(partial(read_file, kind, body), len(body))
        into = None if segment is None else uuid_of(segment)
        if into and not file.collections:
            or_not_found(await collections.get(self.db, user_id=self.owner, collection_uuid=into))
        stored = await self._store(file, into)
        self.write_json({
            "added": sum(each["added"] for each in stored),
            "existing": sum(each["existing"] for each in stored) + file.repeated, "skipped": file.skipped,
            "collections": stored, "error_count": file.error_count,
            "errors": [error._asdict() for error in sorted(file.errors)],
        })

    async def _store(self, file: ImportFile, into: str | None) -> list[dict[str, Any]]:
        """Store the collections; returns how many movies were added to each, and how many it had."""
        stored = []
        for new in file.collections:
            done = await imports.store(self.db, user_id=self.owner, new=new, into=into)
            if done is None:
                raise NotFound(NO_COLLECTION) if into else Unauthenticated(USER_GONE)
            self.resources.changes.announce(self.owner)
            if not done.fits:
                file.skip(new.line, FULL, new.movie_count)
            stored.append({"uuid": into or new.collection_uuid, "added": done.added, "existing": done.existing})
        return stored


routes = [Route("/import/", ImportHandler, protected=True)]
