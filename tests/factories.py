"""Generated request bodies."""
from __future__ import annotations

import uuid
from typing import Any

import factory


class RegistrationFactory(factory.DictFactory):
    """The body of POST /register/ and /login/, each with another name."""

    username = factory.LazyFunction(lambda: f"user-{uuid.uuid4().hex}")
    password = factory.Faker("password", length=12)


class MovieFactory(factory.DictFactory):
    """A movie of a collection."""

    uuid = factory.LazyFunction(lambda: str(uuid.uuid4()))
    title = factory.Faker("sentence", nb_words=3)
    description = factory.Faker("paragraph")
    genres = factory.Faker("random_element", elements=["", "Drama", "Comedy,Drama", "Action, Horror ,Crime"])


class CollectionFactory(factory.DictFactory):
    """The body of POST /collection/, with two movies."""

    title = factory.Faker("sentence", nb_words=2)
    description = factory.Faker("sentence")
    movies = factory.LazyFunction(lambda: MovieFactory.create_batch(2))


def registration(**given: Any) -> dict[str, Any]:
    """The body of POST /register/."""
    return RegistrationFactory.create(**given)  # type: ignore[no-any-return]


def movies(count: int, **given: Any) -> list[dict[str, Any]]:
    """Several movies."""
    return MovieFactory.create_batch(count, **given)


def collection(**given: Any) -> dict[str, Any]:
    """The body of POST /collection/."""
    return CollectionFactory.create(**given)  # type: ignore[no-any-return]
