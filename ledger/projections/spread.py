"""Questions about all partners, spread over processes: each has its own connections, and all answer for one moment.

A partner's stream is enough for that partner, so it does not matter which process is asked about it. Answers come in the order of
the partners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from signal import SIG_IGN, SIGINT, signal

from ledger.projections.questions import Endangered, Moment, Questions

PARTNERS_AT_ONCE = 50
WORTH_WHILE = 500
"""So many partners are answered for before another process has started."""

_asked: list[Questions] = []
"""The questions of a worker process, which it opens once."""


def at_risk(
    open_questions: Callable[[], Questions], partners: Sequence[str], moment: Moment, processes: int, progress: Callable[[int], None]
) -> Iterator[Endangered]:
    """`Questions.at_risk` of these partners. `open_questions` is a function that a new process can import; the moment names its position.

    `progress` is told how many partners are done.
    """
    assert moment.as_of is not None and moment.known_at is not None
    pages = [partners[first : first + PARTNERS_AT_ONCE] for first in range(0, len(partners), PARTNERS_AT_ONCE)]
    with ProcessPoolExecutor(processes, get_context("spawn"), _open, (open_questions,)) as pool:
        try:
            for done, found in enumerate(pool.map(_at_risk, pages, [moment] * len(pages)), start=1):
                progress(min(done * PARTNERS_AT_ONCE, len(partners)))
                yield from found
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _open(open_questions: Callable[[], Questions]) -> None:
    signal(SIGINT, SIG_IGN)  # the first process stops the others
    _asked.append(open_questions())


def _at_risk(partners: Sequence[str], moment: Moment) -> list[Endangered]:
    return list(_asked[0].at_risk(moment, partners))
