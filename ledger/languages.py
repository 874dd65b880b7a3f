"""Languages: what people read, in English, German and Dutch. Programs get codes and English keys, whichever is spoken.

The English words of a message are its key, so that the code reads as what it says; `messages.py` has German and Dutch beside them. A plain
table: nothing has to be compiled or built, and the tests hold every message of the code to be in it, with the same places to fill in.
What English says in one word and others do not is told apart after a bar, which nobody sees: `line|product`.
"""

from __future__ import annotations

from ledger.messages import MESSAGES

LANGUAGES = ("en", "de", "nl")

_spoken = LANGUAGES[0]


def speak(language: str) -> None:
    """From now on this process says everything in one of LANGUAGES."""
    global _spoken
    assert language in LANGUAGES, language
    _spoken = language


def spoken() -> str:
    return _spoken


def of_locale(*names: str) -> str:
    """The language of the first locale that is set (`nl_BE.UTF-8`); English where it is none of ours, and for C and POSIX."""
    language = next(filter(None, names), "").partition("_")[0].partition(".")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def t(message: str, /, **fields: object) -> str:
    """A message in the language that is spoken, its {places} filled in; what is no message stays as it is."""
    return fill(translated(message), fields) if fields else translated(message)


def translated(message: str) -> str:
    if message not in MESSAGES:
        return message
    if _spoken == LANGUAGES[0]:
        return plain(message)
    return MESSAGES[message][LANGUAGES.index(_spoken) - 1]


def plain(message: str) -> str:
    """The English words alone."""
    return message.partition("|")[0] if message in MESSAGES else message


def fill(message: str, fields: dict[str, object]) -> str:
    return message.format(**fields)
