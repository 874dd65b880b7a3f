"""What does the read side cost at scale? Realistic histories (see `years.py`) in a directory that is kept, a stage at a time, in one table.

load        the histories told to the door, many inserts to a transaction and no wait for the disk, against writing the same rows with
            plain sqlite3; the bytes of the log for each row
rebuild     all rows made anew, against selecting and decoding the same events on one core; two processes against one; the bytes of the
            read models for each event
questions   the standing of large partners by the books in force, at the oldest and the newest tenth of either clock; the ranking of all
            partners and the restatements of a day, each against a bare read of the answer's rows in their order, from a table of their own
live        one more event, recorded, relayed, applied and visible, on SQLite and on PostgreSQL, every commit forced to the disk: on
            ledgers of several sizes, in order and late, for ordinary partners (each a stranger to the stations) and for large ones;
            the files have been read once, and are in memory where there is room for them

Beside the whole ledger one of each of --sizes events is made, of as many partners fewer; it has those large partners that leave half of
it to the others. Later stages work on what earlier ones left in --keep; live leaves its events there. Loading anew replaces what is there.

    PYTHONPATH=. python benchmarks/scale.py                                                     # small, about two minutes
    PYTHONPATH=. python benchmarks/scale.py --keep DIR --stage load --partners 100000 --events-per-partner 100 \\
        --large 10000x5,200000 --sizes 10000,100000,1000000                                     # ten million events
    PYTHONPATH=. python benchmarks/scale.py --keep DIR --stage rebuild,questions,live --live 300
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain, islice, pairwise
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg

from benchmarks import servers
from benchmarks.rebuild import PARTNERS, rebuild, select_and_decode
from benchmarks.years import BEGUN, DAYS, ENDED, Shape, Years
from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay
from ledger.events.envelope import Event, decode
from ledger.history import History
from ledger.instants import DAY, Instant, text
from ledger.intake import Accepted, Intake, Receipt, _Batch
from ledger.log import Log, Stored, Writing
from ledger.log_sqlite import LogDatastore, LogRecorder
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import CLOCKED, Restated, Store
from ledger.settings import collect_seldom

STAGES = ("load", "rebuild", "questions", "live")
DATABASES = ("sqlite", "postgres")
LOADED_AT_ONCE = 20_000
PASTS_MAX = 25_000  # so that the door drops none of them within a transaction
COMPARED = 200_000
ROOT = Path(__file__).parent.parent
MINUTE = 60_000_000
PROGRAMME = "hubspot"
BARE_READS = 5


def tell(stage: str, what: str, told: str, ratio: str = "", wanted: str = "") -> None:
    """A row of the table."""
    print(f"{stage:9} | {what:54} | {told:56} | {ratio:>9} | {wanted}".rstrip(" |"), flush=True)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def cut(times: Sequence[float], share: float) -> float:
    """The least time that so large a share does not exceed."""
    return sorted(times)[max(0, ceil(share * len(times)) - 1)]


def milliseconds(times: Sequence[float], share: float) -> str:
    return f"p50 {1000 * cut(times, 0.5):.2f} ms, p{100 * share:.0f} {1000 * cut(times, share):.2f} ms, n {len(times)}"


class Kept(NamedTuple):
    """A ledger of the directory."""

    path: Path
    shape: Shape

    @property
    def rows(self) -> Path:
        return self.path.with_suffix(".read.db")


def kept(directory: Path) -> list[Kept]:
    """Those that were loaded, the whole one last."""
    try:
        loaded = json.loads((directory / "loaded.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"{directory} has no ledgers: run --stage load first") from None
    return [Kept(directory / str(n) / "ledger.db", Shape(*shape[:2], tuple(shape[2]))) for n, shape in enumerate(loaded["shapes"])]


# load --------------------------------------------------------------------------------------------------------------


class Door(Intake):
    """The door with many inserts to a transaction, each recorded at its own time: it judges and writes as ever, and waits less often.

    It reads other streams as they were before the transaction; so what it learns of them within one is kept until the end of it.
    """

    _facts: dict[str, list[Event]]

    def record_years(self, commits: Iterable[tuple[Instant, list[bytes]]]) -> Iterator[list[Receipt]]:
        told, now = iter(commits), BEGUN
        self._clock = lambda: now
        while page := list(islice(told, 1)):
            self._facts = {}
            if len(self._pasts) > PASTS_MAX:
                self._pasts.clear()
            with self._writing() as writing:
                first = writing.head
                for at, batch in chain(page, told):
                    now, self._pasts_at = at, writing.head
                    yield self._record([decode(each) for each in batch], writing, migrate=False)
                    if writing.head - first >= LOADED_AT_ONCE:
                        break

    def _batch(self, writing: Writing, *, migrate: bool, look_up: bool) -> _Batch:
        batch = super()._batch(writing, migrate=migrate, look_up=look_up)
        batch._facts = self._facts
        return batch


def load(directory: Path, asked: argparse.Namespace) -> None:
    shapes = [*smaller(asked.shape, asked.sizes), asked.shape]
    directory.mkdir(parents=True, exist_ok=True)
    for n, shape in enumerate(shapes):
        path = directory / str(n) / "ledger.db"
        path.parent.mkdir(exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        told, seconds = fill(path, shape, asked.seed)
        with Log(path) as log:
            head = log.head()
        bare = bare_load(path)
        rate = head / seconds
        what = f"{told.events:,} events of {shape.partners:,} partners, {head:,} rows"
        tell(
            "load",
            what,
            f"{seconds:.1f} s, {rate:,.0f} rows/s, {told.events / seconds:,.0f} events/s",
            f"{rate / bare:.3f} x",
            "of plain inserts",
        )
        shares = [
            f"{100 * each / told.events:.1f} % {name}"
            for name, each in (("late", told.late), ("reversed", told.reversed), ("moved", told.moved))
        ]
        tell("load", "shares", ", ".join(shares))
        tell("load", "log", f"{path.stat().st_size / 2**20:,.0f} MiB, {path.stat().st_size / head:.0f} bytes a row")
    (directory / "loaded.json").write_text(json.dumps({"seed": asked.seed, "shapes": shapes}))


def smaller(shape: Shape, sizes: Sequence[int]) -> list[Shape]:
    found = []
    for size in sizes:
        large: tuple[int, ...] = ()
        for each in sorted(shape.large):
            if sum(large) + each <= size // 2:
                large += (each,)
        if size < shape.events:
            found.append(Shape(len(large) + (size - sum(large)) // shape.events_per_partner, shape.events_per_partner, large))
    return found


def fill(path: Path, shape: Shape, seed: int) -> tuple[Years, float]:
    """What was told, and the seconds of telling and recording it. Every event has to be accepted."""
    years = Years(shape, seed)
    with Log(path, synchronous="OFF") as log:
        started = time.perf_counter()
        for receipts in Door(log).record_years(years.commits()):
            refused = [receipt for receipt in receipts if type(receipt) is not Accepted]
            assert not refused, refused
        return years, time.perf_counter() - started


def bare_load(path: Path) -> float:
    """Rows a second of plain inserts: the first rows of the log, read into memory, written to the same schema with nothing in between."""
    with tempfile.TemporaryDirectory(dir=path.parent) as directory, closing(sqlite3.connect(path)) as made:
        datastore = LogDatastore(str(Path(directory) / "bare.db"))
        LogRecorder(datastore).create_table()
        datastore.close()
        columns = "rowid, originator_id, originator_version, topic, state"
        events = made.execute(f"SELECT {columns} FROM stored_events ORDER BY rowid LIMIT ?", (COMPARED,)).fetchall()
        last = events[-1][0]
        receipts = made.execute("SELECT * FROM receipts WHERE position <= ? ORDER BY position", (last,)).fetchall()
        inserts = made.execute("SELECT * FROM inserts WHERE position <= ?", (last,)).fetchall()
        with closing(sqlite3.connect(Path(directory) / "bare.db", isolation_level=None)) as bare:
            bare.execute("PRAGMA synchronous=OFF")

            def work() -> None:
                for table, rows in (("receipts", receipts), ("stored_events", events), ("inserts", inserts)):
                    marks = ",".join("?" * len(rows[0]))
                    for first in range(0, len(rows), LOADED_AT_ONCE):
                        bare.execute("BEGIN IMMEDIATE")
                        bare.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[first : first + LOADED_AT_ONCE])
                        bare.execute("COMMIT")

            return len(events) / timed(work)[0]


# rebuild -----------------------------------------------------------------------------------------------------------


def rebuild_with(path: Path, processes: int) -> float | None:
    """Seconds of `points rebuild` with so many processes; None where the command cannot."""
    points = [sys.executable, str(ROOT / "cli.py")]
    can = subprocess.run([*points, "rebuild", "--help"], check=True, capture_output=True, text=True).stdout
    if "--processes" not in can:
        return None
    fresh = ["--fresh"] if "--fresh" in can else []
    command = [*points, "--ledger", str(path), "rebuild", "--processes", str(processes), *fresh]
    return timed(lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))[0]


def made_anew(ledger: Kept) -> float:
    """Seconds of `Project.rebuild` where there are no rows to compare with."""
    for old in ledger.path.parent.glob(f"{ledger.rows.name}*"):
        old.unlink()
    return rebuild(ledger.path)


def rebuild_stage(ledgers: Sequence[Kept], asked: argparse.Namespace) -> None:
    for each in ledgers[:-1]:
        made_anew(each)
    whole = ledgers[-1]
    with closing(sqlite3.connect(whole.path)) as log:
        ((events,),) = log.execute(f"SELECT COUNT(*) {PARTNERS}")
    rounds = [(select_and_decode(whole.path), made_anew(whole)) for _ in range(asked.rounds)]
    decoded, made = (median(seconds) for seconds in zip(*rounds, strict=True))
    tell("rebuild", f"select and decode {events:,} events of partners", f"{decoded:.1f} s, {events / decoded:,.0f} events/s")
    ratio = median(floor / ours for floor, ours in rounds)
    tell("rebuild", "one core", f"{made:.1f} s, {events / made:,.0f} events/s", f"{ratio:.3f} x", ">= 0.333 of select and decode")
    alone = rebuild_with(whole.path, 1)
    if alone is None:
        tell("rebuild", "two processes", "not measured: points rebuild has no --processes")
    else:
        pairs = [
            (alone, rebuild_with(whole.path, 2)),
            *((rebuild_with(whole.path, 1), rebuild_with(whole.path, 2)) for _ in range(1, asked.rounds)),
        ]
        one, two = (median(seconds) for seconds in zip(*pairs, strict=True))
        gain = median(one / two for one, two in pairs)
        tell("rebuild", "points rebuild --processes 2", f"{one:.1f} s with one, {two:.1f} s with two", f"{gain:.2f} x", ">= 1.7 of one")
    size, log_size = whole.rows.stat().st_size, whole.path.stat().st_size
    tell("rebuild", "read models", f"{size / 2**20:,.0f} MiB, {size / events:.0f} bytes an event", f"{size / log_size:.2f} x", "of the log")
    with closing(sqlite3.connect(whole.rows)) as rows:
        counts = [(name, rows.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]) for name in (*CLOCKED, "known")]
        tell("rebuild", "rows an event", ", ".join(f"{count / events:.2f} {name}" for name, count in counts))
        ((parked,),) = rows.execute("SELECT COUNT(*) FROM partners WHERE parked IS NOT NULL")
    tell("rebuild", "partners that are parked", str(parked), wanted="0")


# questions ---------------------------------------------------------------------------------------------------------


def near(rows: Path, size: int) -> tuple[str, int] | None:
    """The partner whose number of events is nearest to one, if one is near."""
    with closing(sqlite3.connect(rows)) as connection:
        query = "SELECT partner, version FROM partners ORDER BY ABS(version - ?), partner LIMIT 1"
        partner, version = connection.execute(query, (size,)).fetchone()
    return (partner, version) if size / 1.5 <= version <= size * 1.5 else None


def bare_read(answer: Sequence[tuple[Any, ...]]) -> float:
    """Seconds that reading these rows takes, from a table that has them alone and in their order."""
    with tempfile.TemporaryDirectory() as directory, closing(sqlite3.connect(Path(directory) / "answer.db")) as connection:
        width = len(answer[0])
        connection.execute(f"CREATE TABLE answer ({', '.join(f'c{n}' for n in range(width))})")
        connection.executemany(f"INSERT INTO answer VALUES ({','.join('?' * width)})", answer)
        connection.commit()
        times = []
        for _ in range(BARE_READS):
            seconds, found = timed(lambda: connection.execute("SELECT * FROM answer ORDER BY rowid").fetchall())
            assert len(found) == len(answer)
            times.append(seconds)
        return median(times)


def questions_stage(whole: Kept, asked: argparse.Namespace) -> None:
    dice = random.Random(asked.seed)
    with Log(whole.path) as log, closing(Store(whole.rows)) as store:
        history = History(log)
        if store.position() != log.head():
            raise SystemExit("the read models are not those of the log: run --stage rebuild first")
        questions = Questions(history, store, lambda: ENDED)
        for size in asked.standings or sorted(set(whole.shape.large)):
            found = near(whole.rows, size)
            if found is None:
                tell("questions", f"standing, {size:,} events", "no partner is about as large")
            else:
                standings(questions, *found, asked.questions, dice)
        rankings(questions, asked.rounds_of_many, dice)
        restatements(history, store, asked.questions, dice)


def standings(questions: Questions, partner: str, events: int, count: int, dice: random.Random) -> None:
    """By the book in force: at moments of the oldest and of the newest tenth of the years, by either clock."""
    history, tenth = questions.history, DAYS * DAY // 10
    for age, first in (("oldest", BEGUN + tenth // 2), ("newest", ENDED - tenth)):
        moments = {
            "as of": [Moment(as_of=first + dice.randrange(tenth)) for _ in range(count)],
            "known at": [
                Moment(as_of=when, known_at=history.position_at(when)) for when in (first + dice.randrange(tenth) for _ in range(count))
            ],
            "as of, known at random": [
                Moment(as_of=first + dice.randrange(tenth), known_at=history.position_at(dice.randrange(first + tenth, ENDED + 1)))
                for _ in range(count)
            ],
        }
        for clock, asked in moments.items():
            questions.standing(partner, asked[0])
            for what, ask, wanted in (("brief", questions.brief, "p95 <= 5 ms"), ("standing", questions.standing, "")):
                times = [timed(lambda moment=moment, ask=ask: ask(partner, moment))[0] for moment in asked]  # type: ignore[misc]
                tell("questions", f"{what}, {events:,} events, {age} {clock}", milliseconds(times, 0.95), wanted=wanted)


def rankings(questions: Questions, count: int, dice: random.Random) -> None:
    history, pairs, many = questions.history, [], 0
    for _ in range(count):
        known_when = dice.randrange(BEGUN + DAYS // 4 * DAY, ENDED)
        moment = Moment(
            as_of=dice.randrange(BEGUN + DAYS // 5 * DAY, known_when), known_at=history.position_at(known_when), programme=PROGRAMME
        )
        seconds, ranked = timed(lambda: questions.ranking(moment))  # noqa: B023
        answer = [
            (
                r.place,
                r.partner,
                r.credited,
                r.performance,
                str(r.score),
                r.parked,
            )
            for r in ranked
        ]
        pairs.append((seconds, bare_read(answer)))
        many = max(many, len(answer))
    took, bare = (median(each) for each in zip(*pairs, strict=True))
    told = f"{took:.3f} s, bare {1000 * bare:.2f} ms, n {count}"
    tell("questions", f"ranking of up to {many:,} partners", told, f"{median(ours / floor for ours, floor in pairs):.1f} x", "<= 3 of bare")


def restatements(history: History, store: Store, count: int, dice: random.Random) -> None:
    ends = [history.position_at(BEGUN + day * DAY) for day in range(60, DAYS)]
    days = list(pairwise(ends))
    dice.shuffle(days)
    pairs: list[tuple[float, float]] = []
    rows: list[int] = []
    for after, until in days:
        seconds, restated = timed(lambda: store.restated(after, until))  # noqa: B023
        if restated:
            pairs.append((seconds, bare_read([tuple(getattr(each, name) for name in Restated.__slots__) for each in restated])))
            rows.append(len(restated))
        if len(pairs) == count:
            break
    if not pairs:
        tell("questions", "restatements of a day", "no day restated anything")
        return
    took, bare = (median(each) for each in zip(*pairs, strict=True))
    told = f"{1000 * took:.2f} ms, bare {1000 * bare:.3f} ms, n {len(pairs)}"
    ratio = median(ours / floor for ours, floor in pairs)
    tell("questions", f"restatements of a day, {median(rows):.0f} rows", told, f"{ratio:.1f} x", "<= 3 of bare")


# live --------------------------------------------------------------------------------------------------------------


class Live:
    """One ledger with its stations in this process."""

    def __init__(self, log: Log, store: Store) -> None:
        self._log, self._store = log, store
        self.now = max(ENDED, log.get(log.head()).recorded_at) + MINUTE
        self._bus = InProcessBus()
        self._relay = Relay(log, self._bus, store.position())
        self.forget()
        while self._relay.step():
            self._project.step()

    def forget(self) -> None:
        """Stations that have just begun, and know no partner yet."""
        self._intake, self._project = Intake(self._log, lambda: self.now), Project(self._bus, History(self._log), self._store)

    def once(self, partner: str, late_days: int = 0, *, stranger: bool = True) -> float:
        """Seconds from the door to the rows, for a sale. `stranger`: the stations have not met the partner before."""
        if stranger:
            self.forget()
        self.now += MINUTE
        sale = {
            "specversion": "1.0", "id": f"live {self._log.head()}", "source": "scale", "subject": partner, "type": "points.sold.v1",
            "time": text(self.now - late_days * DAY - MINUTE // 2),
            "data": {"client": "C", "line": "sales", "amount": "100.00", "currency": "USD"},
        }  # fmt: skip

        def work() -> list[Receipt]:
            receipts = self._intake.record([json.dumps(sale).encode()])
            self._relay.step()
            self._project.step()
            return receipts

        seconds, receipts = timed(work)
        assert type(receipts[0]) is Accepted, receipts
        assert self._store.position() == self._log.head(), "what was recorded is not visible"
        return seconds


def live_stage(ledgers: Sequence[Kept], asked: argparse.Namespace) -> None:
    for database in asked.on:
        ordinary: list[tuple[int, dict[str, float]]] = []
        for each in ledgers:
            with ExitStack() as stack:
                where: tuple[Path | str, Path | str] = (each.path, each.rows)
                if database == "postgres":
                    url = stack.enter_context(servers.database(stack.enter_context(servers.postgres(asked.postgres))))
                    seconds, _ = timed(lambda: copy_to(url, each))  # noqa: B023
                    where = url, url
                    tell("live", "copying the ledger to PostgreSQL", f"{seconds:.1f} s")
                else:
                    seconds, _ = timed(lambda: read_once(each))  # noqa: B023
                    tell("live", "reading its files once", f"{seconds:.1f} s")
                log = stack.enter_context(Log(where[0]))
                store = stack.enter_context(closing(Store(where[1])))
                ordinary.append((log.head(), one_size(f"{database}, {log.head():,} rows", Live(log, store), each, asked)))
        (least, small), (most, large) = ordinary[0], ordinary[-1]
        for name in small if len(ordinary) > 1 else ():
            tell("live", f"{database}, {most:,} rows against {least:,}, {name}", "", f"{large[name] / small[name]:.2f} x", "<= 1.5")


def one_size(label: str, live: Live, ledger: Kept, asked: argparse.Namespace) -> dict[str, float]:
    """Ordinary partners, each a stranger to the stations; then the large ones, again and again."""
    dice = random.Random(asked.seed)
    with closing(sqlite3.connect(ledger.rows)) as rows:
        query = "SELECT partner FROM partners WHERE version BETWEEN 20 AND 500 AND parked IS NULL ORDER BY partner"
        partners = [partner for (partner,) in rows.execute(query)]
    found: dict[str, float] = {}
    for name, late in (("in order", 0), ("60 days late", 60)):
        for _ in range(5):
            live.once(dice.choice(partners), late)
        times = [live.once(dice.choice(partners), late) for _ in range(asked.live)]
        found |= {f"{name}, p50": cut(times, 0.5), f"{name}, p99": cut(times, 0.99)}
        tell("live", f"{label}, {name}", milliseconds(times, 0.99))
    for size in sorted(set(ledger.shape.large)):
        if (large := near(ledger.rows, size)) is not None:
            partner, events = large
            first = live.once(partner)
            times = [live.once(partner, stranger=False) for _ in range(asked.live_large)]
            ratio = f"{cut(times, 0.5) / found['in order, p50']:.1f} x"
            told = f"{milliseconds(times, 0.99)}, first {first:.2f} s"
            tell("live", f"{label}, partner of {events:,}", told, ratio, "of an ordinary one")
    return found


def read_once(ledger: Kept) -> None:
    """What nobody has asked for a while comes from the disk first, page by page: which is the disk's, and no growth of ours."""
    for path in (ledger.path, ledger.rows):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def copy_to(url: str, ledger: Kept) -> None:
    """The log as a restore fills it, every seal checked; the rows of the read models as they are."""
    with Log(ledger.path) as ours, Log(url) as theirs:
        theirs.refill(inserted(ours))
    Store(url).close()
    with closing(sqlite3.connect(ledger.rows)) as rows, psycopg.connect(url) as connection:
        made = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()]
        there = [name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name in made]
        for name in there:
            connection.execute(f"TRUNCATE {name}".encode())
            with connection.cursor().copy(f"COPY {name} FROM STDIN".encode()) as into:
                for row in rows.execute(f"SELECT * FROM {name}"):
                    into.write_row(row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def inserted(log: Log) -> Iterator[tuple[Stored, int]]:
    """The rows of a log, each with the last position of its insert."""
    after = 0
    while ends := log.insert_ends(after, 2_000):
        inserts = iter(ends)
        insert = 0
        for row in log.stored(after, ends[-1] - after):
            while insert < row.position:
                insert = next(inserts)
            yield row, insert
        after = ends[-1]


# --------------------------------------------------------------------------------------------------------------------


def sizes(written: str) -> tuple[int, ...]:
    """`10000x5,200000`: five times 10,000, and 200,000."""
    found: list[int] = []
    for part in written.split(",") if written else ():
        size, _, times = part.partition("x")
        found += [int(size)] * int(times or 1)
    return tuple(found)


def among(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def chosen(written: str) -> tuple[str, ...]:
        names = written.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose of {', '.join(known)}")
        return tuple(name for name in known if name in names)

    return chosen


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="where the ledgers are made, and found again; default a directory that goes"
    )
    parser.add_argument("--stage", type=among(STAGES), default=STAGES, help=f"of {', '.join(STAGES)}, with commas between; default all")
    parser.add_argument("--partners", type=int, default=300)
    parser.add_argument("--events-per-partner", type=int, default=60, help="the mean of those that are not large")
    parser.add_argument("--large", type=sizes, default=(1000, 1000, 3000), help="sizes of the large partners, such as 10000x5,200000")
    parser.add_argument(
        "--sizes", type=sizes, default=(10_000,), help="of the smaller ledgers that are made beside the whole one, in events"
    )
    parser.add_argument("--on", type=among(DATABASES), default=DATABASES, help="the databases of live, with a comma between")
    parser.add_argument("--postgres", metavar="URL", help="a server that runs already; without it one is started")
    parser.add_argument("--rounds", type=int, default=1, help="of rebuilding")
    parser.add_argument("--questions", type=int, default=40, help="of each kind, about one partner or a day")
    parser.add_argument("--rankings", dest="rounds_of_many", type=int, default=5)
    parser.add_argument("--standings", type=sizes, default=(), help="sizes of the partners asked about; default each of the large ones")
    parser.add_argument("--live", type=int, default=100, help="events of ordinary partners, of each kind and ledger")
    parser.add_argument("--live-large", type=int, default=20, help="events of each large partner")
    parser.add_argument("--seed", type=int, default=20260701)
    asked = parser.parse_args()
    asked.shape = Shape(asked.partners, asked.events_per_partner, asked.large)
    if asked.partners <= len(asked.large):
        parser.error("--partners counts the large ones too: ask for more")
    return asked


def main() -> None:
    asked = options()
    collect_seldom()
    print(f"seed {asked.seed}, {servers.machine()}")
    with ExitStack() as stack:
        directory = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for stage in asked.stage:
            started = time.perf_counter()
            if stage == "load":
                load(directory, asked)
            elif stage == "rebuild":
                rebuild_stage(kept(directory), asked)
            elif stage == "questions":
                questions_stage(kept(directory)[-1], asked)
            else:
                live_stage(kept(directory), asked)
            tell(stage, "the whole stage", f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
