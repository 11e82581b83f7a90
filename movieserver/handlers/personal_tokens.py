"""Personal tokens, for scripts: bearer tokens for everything but accounts, sessions and tokens."""
from __future__ import annotations

from movieserver.accounts.personal_tokens import PersonalToken, TooManyTokens
from movieserver.data import personal_tokens
from movieserver.errors import NotFound, Unauthenticated
from movieserver.formats import parse_uuid
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas import responses
from movieserver.schemas.requests import NewPersonalToken

NO_TOKEN = "You have no personal token with this uuid."
LOGIN_ENDED = "The login of this access token has ended. Log in again."


class PersonalTokensHandler(Handler):
    """GET and POST /tokens/"""

    login_only = True

    @Operation(
        "listTokens", "List my personal tokens", responses.PersonalTokens, etag=True,
        description="Valid tokens, newest first. `last_used` is a day in UTC, or null.")
    async def get(self) -> None:
        listed = await personal_tokens.list_all(self.db, user_id=self.owner)
        await self.write_representation(f'{{"data": {listed}}}')

    @Operation(
        "createToken", "Create a personal token", responses.CreatedPersonalToken, 201, body=NewPersonalToken,
        errors=(Unauthenticated(LOGIN_ENDED), TooManyTokens()),
        description="The token is shown only once. With the scope `read` it cannot change anything. Without "
        "`expires_in_days` it does not expire.")
    async def post(self) -> None:
        new, token = self.body(NewPersonalToken), PersonalToken.new(self.owner)
        created = await personal_tokens.create(self.db, token=token, login=self.login_uuid, new=new)
        if created is None:
            raise Unauthenticated(LOGIN_ENDED)
        self.write_json({
            "token": str(token), "uuid": created.uuid, "name": new.name, "scope": new.scope,
            "created_at": created.created_at, "expires_at": created.expires_at, "last_used": None,
        }, 201)


class PersonalTokenHandler(Handler):
    """One token: DELETE /tokens/<uuid>/"""

    login_only = True

    @Operation(
        "deleteToken", "Delete a personal token", responses.Message, errors=(NotFound(NO_TOKEN),),
        description="It stops working within 5 seconds.")
    async def delete(self, segment: str) -> None:
        uuid = parse_uuid(segment)
        if uuid is None or not await personal_tokens.delete(self.db, user_id=self.owner, token_uuid=uuid):
            raise NotFound(NO_TOKEN)
        self.resources.verified_tokens.forget(self.owner)
        self.write_json({"message": "Token deleted successfully"})


routes = [
    Route("/tokens/", PersonalTokensHandler, protected=True),
    Route("/tokens/{token_uuid}/", PersonalTokenHandler, protected=True),
]
