"""Files in the formats of other services, with made-up films and every quirk that was seen in real ones."""
from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

TITLES = (
    "The {} Harbour", "Ünder the {} Moon", "{}, or: How I Learned", 'The "{}" Affair', "Line\nBreak {}", "千の{}",
    "=SUM({})", "-{}", "'{}", "@{};x")
LETTERBOXD_FILMS = "Date,Name,Year,Letterboxd URI"
LETTERBOXD_RATINGS = f"{LETTERBOXD_FILMS},Rating"
LETTERBOXD_DIARY = f"{LETTERBOXD_RATINGS},Rewatch,Tags,Watched Date"
LETTERBOXD_LIST = "Position,Name,Year,URL,Description"
IMDB_LIST = (
    "Position,Const,Created,Modified,Description,Title,Original Title,URL,Title Type,IMDb Rating,Runtime (mins),Year,"
    "Genres,Num Votes,Release Date,Directors,Your Rating,Date Rated")
IMDB_RATINGS = (
    "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Runtime (mins),Year,Genres,Num Votes,"
    "Release Date,Directors")
TRAKT_LIST = (
    "rank,listed_at,type,title,year,trakt_id,imdb_id,tmdb_id,tvdb_id,url,released,runtime,season_number,"
    "episode_number,genres")


def title(number: int) -> str:
    """A film's title."""
    return TITLES[number % len(TITLES)].format(number)


def year(number: int) -> int:
    """The year of that film."""
    return 1920 + number % 100


def text(rows: Iterable[Iterable[object]], delimiter: str = ",", line_end: str = "\r\n") -> str:
    """Rows as CSV."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return file.getvalue()


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    return text([header.split(","), *rows], line_end="\n")


def letterboxd_list(count: int) -> str:
    preamble = (
        "Letterboxd list export v7\nDate,Name,Tags,URL,Description\n"
        '2026-01-02,"Nights, long",quiet,https://boxd.it/abc,"Two\nlines"\n\n')
    return preamble + table(LETTERBOXD_LIST, (
        (number + 1, title(number), year(number), f"https://boxd.it/{number:x}", f"Seen {number}")
        for number in range(count)))


def letterboxd_watchlist(count: int) -> str:
    return table(LETTERBOXD_FILMS, (
        ("2026-01-02", title(number), year(number), f"https://boxd.it/{number:x}") for number in range(count)))


def letterboxd_ratings(count: int) -> str:
    return table(LETTERBOXD_RATINGS, (
        ("2026-01-02", title(number), year(number), f"https://boxd.it/{number:x}", 4.5) for number in range(count)))


def letterboxd_diary(count: int) -> str:
    return table(LETTERBOXD_DIARY, (
        ("2026-01-02", title(number), year(number), f"https://boxd.it/entry{number:x}", "", "Yes", "a, b", "2026-01-01")
        for number in range(count)))


def imdb_list(count: int) -> str:
    return table(IMDB_LIST, (
        (number + 1, f"tt{number:07}", "2026-01-02", "2026-01-02", "", title(number), title(number),
         f"https://www.imdb.com/title/tt{number:07}/", "Movie", 7.1, 99, year(number), "Drama, Sci-Fi", 1000,
         "1999-03-31", "A Person, B Person", "", "")
        for number in range(count)))


def imdb_ratings(count: int) -> str:
    return table(IMDB_RATINGS, (
        (f"tt{number:07}", 8, "2026-01-02", title(number), title(number), f"https://www.imdb.com/title/tt{number:07}/",
         "Movie", 7.1, 99, year(number), "Drama, Sci-Fi", 1000, "1999-03-31", "A Person")
        for number in range(count)))


def trakt_list(count: int) -> str:
    return table(TRAKT_LIST, (
        (number + 1, "2026-01-02T03:04:05Z", "movie", title(number), year(number), number + 7, f"tt{number:07}",
         number + 5, "", "https://trakt.tv/movies/x", "1999-03-31", 99, "", "", "drama,science-fiction")
        for number in range(count)))


FILES: dict[str, tuple[Callable[[int], str], str]] = {
    "Letterboxd list": (letterboxd_list, "Nights, long"),
    "Letterboxd watchlist": (letterboxd_watchlist, "Letterboxd films"),
    "Letterboxd diary": (letterboxd_diary, "Letterboxd diary"),
    "Letterboxd ratings": (letterboxd_ratings, "Letterboxd ratings"), "IMDb list": (imdb_list, "IMDb list"),
    "IMDb ratings": (imdb_ratings, "IMDb ratings"), "Trakt list": (trakt_list, "Trakt list"),
}
