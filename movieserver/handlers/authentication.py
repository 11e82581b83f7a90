"""Authentication: the user of a request, and what their token allows."""
from __future__ import annotations

import time
from contextlib import suppress

from movieserver.accounts.personal_tokens import PREFIX, InsufficientScope, LoginRequired, PersonalToken
from movieserver.accounts.tokens import LOGIN, READ, Access
from movieserver.data import personal_tokens
from movieserver.errors import ApiError, Unauthenticated
from movieserver.resources import Resources

READING = ("GET", "HEAD")
USER_GONE = "The user of this access token has been deleted. Register again."


async def authenticate(resources: Resources, text: str) -> Access:
    """What an access token or a personal token gives access to. Raises Unauthenticated."""
    if not text.startswith(PREFIX):
        return resources.tokens.verify(text)
    token = PersonalToken.parse(text)
    access = token and (resources.verified_tokens.get(token) or await _look_up(resources, token))
    if not access:
        raise Unauthenticated
    return access


async def _look_up(resources: Resources, token: PersonalToken) -> Access | None:
    now = time.monotonic()
    found = await personal_tokens.find(resources.database, token=token)
    if found is None:
        return None
    if not found.used_today:
        with suppress(ApiError):  # it is logged; a later look-up tries again
            await personal_tokens.record_use(resources.database, token=token)
    access = Access(token.user_id, None, found.scope)
    resources.verified_tokens.add(token, access, now, found.lifetime)
    return access


def check_scope(scope: str, method: str, login_only: bool) -> None:
    """Raise LoginRequired or InsufficientScope unless a token of this scope allows the request."""
    if login_only and scope != LOGIN:
        raise LoginRequired
    if scope == READ and method not in READING:
        raise InsufficientScope
