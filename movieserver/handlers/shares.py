"""Collections shared by a link. Anyone who has the link can open it."""
from __future__ import annotations

from movieserver.data import shares
from movieserver.errors import NotFound
from movieserver.formats import parse_uuid
from movieserver.handlers.base import Handler, OpenHandler
from movieserver.handlers.collections import NO_COLLECTION, both_spellings, or_not_found, uuid_of
from movieserver.handlers.web import negotiate_page, write_page
from movieserver.openapi.operation import DATABASE_ERRORS, Operation, Route
from movieserver.schemas import responses
from movieserver.schemas.requests import NewShare

NO_SHARE = "You have no shared collection with this uuid."
NO_LINK = "This link is not valid: it never existed, has expired, or was ended by its owner."


class ShareHandler(Handler):
    """POST and DELETE /collection/<uuid>/share/"""

    @Operation(
        "shareCollection", "Share a collection by a link", responses.Share, 201, body=NewShare, body_required=False,
        may_already_exist=True, errors=(NotFound(NO_COLLECTION),),
        description="Anyone with the link can read title, description and movies, but no notes and nothing about you. "
        "While it works, you get the same link again (200), whatever the body; DELETE ends it.")
    async def post(self, segment: str) -> None:
        days = self.body(NewShare).expires_in_days if self.request.body else None
        share = or_not_found(await shares.create(
            self.db, tokens=self.resources.share_tokens, user_id=self.owner,
            collection_uuid=uuid_of(segment), days=days))
        self.write_json(
            {"url": self.absolute_url(f"/shared/{share.token}/"), "token": share.token, "expires_at": share.expires_at},
            201 if share.new else 200)

    @Operation(
        "endShare", "End the share of a collection", responses.Message, errors=(NotFound(NO_SHARE),),
        description="The link stops working at once. Sharing again makes a different link.")
    async def delete(self, segment: str) -> None:
        collection_uuid = parse_uuid(segment)
        if not collection_uuid or not await shares.delete(self.db, user_id=self.owner, collection_uuid=collection_uuid):
            raise NotFound(NO_SHARE)
        self.write_json({"message": "Share ended successfully"})


class SharedHandler(OpenHandler):
    """GET /shared/<token>/"""

    def clear(self) -> None:
        super().clear()
        self.set_header("X-Robots-Tag", "noindex")
        self.set_header("Cache-Control", "no-cache")  # the link may end at any moment

    @Operation(
        "getShared", "Read a collection that is shared", responses.Shared, response_texts=("text/html",), etag=True,
        headers=("X-Robots-Tag",), errors=(*DATABASE_ERRORS, NotFound(NO_LINK)),
        description="Needs no access token. A link that never existed, has expired or was ended is 404. A browser "
        "(`Accept: text/html`) gets the web page, which shows the collection.")
    async def get(self, token: str) -> None:
        if negotiate_page(self):
            return await write_page(self)
        shared = await shares.get(self.db, token=token)
        if shared is None:
            raise NotFound(NO_LINK)
        await self.write_representation(shared.text, shared.version)


routes = [
    *both_spellings("{collection_uuid}/share/", ShareHandler),
    Route("/shared/{share_token}/", SharedHandler, protected=False),
]
