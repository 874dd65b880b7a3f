"""Work on all partners, spread over processes: each opens its own connections, and does the same with pages of partners.

A partner's stream is enough for that partner, so it does not matter which process is given it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from signal import SIG_IGN, SIGINT, signal
from threading import Thread
from typing import Any

from ledger.instants import Instant
from ledger.projections import endangered
from ledger.projections.endangered import Judged
from ledger.projections.questions import Endangered, Moment, Questions

PARTNERS_AT_ONCE = 50
WORTH_WHILE = 500
"""So many partners are done before another process has started."""

LARGE = 2_000
"""Events of a partner that is a page of its own."""

_PAGES_AHEAD, _PAGES_DONE = 3, 40

Each = Callable[..., Iterator[Any]]
"""Of a function, pages and what else it takes: what it says of each page. It is given what the process works with first.

Not `in_order`: of each page when it is done.
"""

_worker: list[Any] = []
"""What a process works with, which it opens once."""


def how_many(processes: int | None, partners: int) -> int:
    """As many as were asked for, else one for each core where there are many partners."""
    if processes is not None:
        return processes
    return os.cpu_count() or 1 if partners >= WORTH_WHILE else 1


@contextmanager
def spread(open_worker: Callable[[], Any], processes: int) -> Iterator[Each]:
    """`open_worker` is a function that a new process can import; so is what is done with each page. One process: this one."""
    if processes == 1:
        worker = open_worker()
        yield lambda do, pages, *more, in_order=True: (do(worker, page, *more) for page in pages)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _open, (open_worker,)) as pool:

        def each(do: Callable[..., Any], pages: Iterable[Any], *more: Any, in_order: bool = True) -> Iterator[Any]:
            ahead: deque[Future[Any]] = deque()  # no more than that: who writes may be slower than those who make
            for page in pages:
                ahead.append(pool.submit(_do, do, page, more))
                while len(ahead) > processes * _PAGES_DONE or sum(not future.done() for future in ahead) > processes * _PAGES_AHEAD:
                    ready = ahead[0].done() if in_order else any(future.done() for future in ahead)
                    if ready or len(ahead) > processes * _PAGES_DONE:
                        yield _taken(ahead, in_order)
                    else:  # a page that takes long keeps nobody else from work
                        wait([future for future in ahead if not future.done()], return_when=FIRST_COMPLETED)
            while ahead:
                yield _taken(ahead, in_order)

        try:
            yield each
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def pages(partners: Sequence[str]) -> list[Sequence[str]]:
    return [partners[first : first + PARTNERS_AT_ONCE] for first in range(0, len(partners), PARTNERS_AT_ONCE)]


def pages_by_size(partners: Sequence[str], sizes: Mapping[str, int]) -> list[Sequence[str]]:
    """The large partners each alone and the largest first, as it takes longest; `sizes`: how many events each has."""
    large = sorted([name for name in partners if sizes.get(name, 0) > LARGE], key=lambda name: -sizes[name])
    alone = set(large)
    return [*[[name] for name in large], *pages([name for name in partners if name not in alone])]


def _taken(ahead: deque[Future[Any]], in_order: bool) -> Any:
    """What the first page gave, or the first that is done."""
    done = ahead[0] if in_order else next(iter(wait(ahead, return_when=FIRST_COMPLETED).done))
    ahead.remove(done)
    return done.result()


def _open(open_worker: Callable[[], Any]) -> None:
    signal(SIGINT, SIG_IGN)  # the first process stops the others
    Thread(target=_end_with_the_first, daemon=True).start()
    _worker.append(open_worker())


def _end_with_the_first() -> None:
    """However it ended: nobody else would tell this one."""
    first = parent_process()
    assert first is not None
    first.join()
    os._exit(1)


def _do(do: Callable[..., Any], page: Any, more: tuple[Any, ...]) -> Any:
    return do(_worker[0], page, *more)


def at_risk(
    open_questions: Callable[[], Questions], partners: Sequence[str], moment: Moment, processes: int, progress: Callable[[int], None]
) -> Iterator[Endangered]:
    """`Questions.at_risk` of these partners, for one moment, which names its instant and its position.

    `progress` is told how many partners are done.
    """
    assert moment.as_of is not None and moment.known_at is not None
    with spread(open_questions, processes) as each:
        for done, found in enumerate(each(_at_risk, pages(partners), moment), start=1):
            progress(min(done * PARTNERS_AT_ONCE, len(partners)))
            yield from found


def _at_risk(questions: Questions, partners: Sequence[str], moment: Moment) -> list[Endangered]:
    return list(questions.at_risk(moment, partners))


def judged(open_questions: Callable[[], Questions], partners: Sequence[str], at: Instant, processes: int) -> Iterator[list[Judged]]:
    """`endangered.judged` of these partners, page by page."""
    with spread(open_questions, processes) as each:
        yield from each(endangered.judged, pages(partners), at)
