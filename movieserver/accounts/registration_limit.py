"""Registrations per address, counted in Redis. Without Redis they are not limited.

A window begins with an address's first registration and ends after WINDOW_SECONDS, regardless of later requests.
"""
from __future__ import annotations

import hmac
import math

from movieserver.errors import ApiError
from movieserver.redis.client import PATIENT_SECONDS, Calls, Client, Script

PREFIX = "{movieserver}:registrations:"
WINDOW_SECONDS = 60.0
MAX_REGISTRATIONS = 100  # from one address in a window

# KEYS: the registrations of the address. ARGV: the maximum, ms of a window.
# Returns 0 if it is allowed, else the ms until the window ends.
COUNT = """
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then
    return math.max(1, redis.call('PTTL', KEYS[1]))
end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""


class TooManyRegistrations(ApiError):
    """429: too many registrations from this address; the next is accepted after `seconds`."""

    status = 429
    code = "too_many_registrations"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many registrations from this IP address: at most {MAX_REGISTRATIONS} are allowed within "
            f"{WINDOW_SECONDS:.0f} seconds. Try again in {seconds} seconds.", retry_after=seconds)


class RegistrationLimit:
    """Limits registrations. `key` hides addresses in Redis."""

    def __init__(self, redis: Client, key: bytes) -> None:
        self._key = key
        self._count = Script(redis, COUNT)
        self._calls = Calls("registrations", PATIENT_SECONDS)

    async def count(self, address: str) -> None:
        """Count a registration, whether or not it succeeds; TooManyRegistrations beyond the limit."""
        key = PREFIX + hmac.new(self._key, address.encode(), "sha256").hexdigest()
        arguments = [MAX_REGISTRATIONS, int(WINDOW_SECONDS * 1000)]
        if wait := await self._calls.ask(lambda: self._count([key], arguments)):
            raise TooManyRegistrations(math.ceil(wait / 1000))
