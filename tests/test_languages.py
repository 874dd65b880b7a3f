"""English, German and Dutch: everything that people read is there in each, and programs get the same in all."""

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from ledger import languages
from ledger.messages import MESSAGES
from ledger.projections import achievements, licences
from ledger.rules import breakdown, labels, walk
from ledger.rules.library import shipped
from tests import test_cli_programmes
from tests.test_cli import AT, READING, points

ROOT = Path(__file__).parent.parent
SOURCES = (ROOT / "cli.py", ROOT / "ledger" / "terminal.py")

ledger = pytest.fixture(scope="module")(lambda tmp_path_factory: _demo(tmp_path_factory.mktemp("demo") / "demo.db"))
scores, licensed = test_cli_programmes.scores, test_cli_programmes.licences


def _demo(path: Path) -> Path:
    assert CliRunner().invoke(cli.main, ["demo", "--at", str(path)]).exit_code == 0
    return path


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    languages.speak("en")


# -- the catalogue -------------------------------------------------------------------------------------------------------


def texts(node: ast.AST) -> set[str]:
    """The texts of an expression, without what only chooses between them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":  # a choice by a name
        return {each.value for each in ast.walk(node.func.value) if isinstance(each, ast.Constant)} & MESSAGES.keys()
    return {text for part in node.elts for text in texts(part)} if isinstance(node, ast.Tuple) else set()


def said() -> Iterator[tuple[str, str]]:
    """What the code says, and where: messages, words, headings, numbers of things."""
    for file in SOURCES:
        tree = ast.parse(file.read_text())
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            stated = {n.id: a.value for a in ast.walk(function) if isinstance(a, ast.Assign) for n in a.targets if isinstance(n, ast.Name)}
            for call in [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]:
                name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
                position = {"t": 0, "word": 0, "_show_fact": 0, "_step": 0, "rows": 0, "table": 0, "many": 1, "_bar": 0, "_name_some": 0}.get(name)
                if position is None:
                    continue
                argument = call.args[position]
                found = texts(stated.get(argument.id, argument) if isinstance(argument, ast.Name) else argument)
                for text in found:
                    yield text, f"{file.name}:{call.lineno}"
                    if name == "many":
                        yield f"{text}s", f"{file.name}:{call.lineno}"


def test_every_message_of_the_code_is_in_the_catalogue() -> None:
    found = list(said())
    assert len({text for text, _ in found}) > 200
    published = re.compile("[A-Z][a-z]")  # a column of a published export has its owner's name
    assert sorted({f"{where}: {text!r}" for text, where in found if text and text not in MESSAGES and not published.match(text)}) == []


ANSWERED = {
    walk.RAISED, walk.KEPT, walk.HELD, walk.CARRIED, walk.LIFTED, walk.ENDED, walk.LEFT, walk.FAILED, walk.LAPSED, walk.LOWERED,
    breakdown.ACTIVE, breakdown.PENDING, breakdown.EXPIRED, breakdown.LOST, breakdown.REVERSED, achievements.WON, achievements.NOMINATED,
    licences.NO_ENTITLEMENTS, licences.BUCKETS[-1],
}  # fmt: skip


def test_every_word_that_answers_carry_is_in_the_catalogue(ledger: Path) -> None:
    """Constants of the rules, and whatever the demo's partners are told."""
    carried = set(ANSWERED)
    for partner in range(1, 37):
        words = ("standing", f"P-{partner:02}", *AT, "-o", "json")
        answer = json.loads(points(ledger, *words).stdout)
        risk, lost = answer["at_risk"], answer["tier_lost_at"]
        carried |= {answer["credited_because"], *([risk["why"]] if risk else []), *([lost["how"]] if lost else [])}
        changes = json.loads(points(ledger, "changes", f"P-{partner:02}", "2025", "-o", "json").stdout)
        carried |= {change["cause"] for change in changes["changes"]}
    assert {cli._why(word).written for word in carried} - MESSAGES.keys() == set()


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_has_the_same_places_in_each_language(message: str) -> None:
    def places(text: str) -> set[str]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}

    translations = MESSAGES[message]
    assert len(translations) == len(languages.LANGUAGES) - 1 and all(each.strip() for each in translations)
    assert all(places(each) == places(message) for each in translations)
    assert all(each[:1].isspace() == message[:1].isspace() for each in translations), "what is put together has its blanks"


# -- labels --------------------------------------------------------------------------------------------------------------


def names(programme: str) -> set[str]:
    """Tiers, awards, groups, options, requirements, measures, numbers and units of a programme's rulebooks."""
    found: set[str] = set()
    for book in [book for book in shipped() if book.programme == programme]:
        tiers = [*book.tiers, *[tier for award in book.awards.values() for tier in award.tiers]]
        found |= {*book.ranks, *book.measures, *book.numbers, *book.awards, *(measure.unit for measure in book.measures.values())}
        found |= {award.group for award in book.awards.values()} | {tier.option for tier in tiers}
        found |= {need.name for tier in tiers for need in tier.needs}
    return found - {""}


@pytest.mark.parametrize("programme", sorted({book.programme for book in shipped()}))
def test_every_name_of_a_shipped_rulebook_has_a_label_in_each_language(programme: str) -> None:
    known = labels.labels(programme)
    assert sorted(names(programme) - known.keys()) == [], f"add them to {programme}/labels.yaml"
    for name, each in known.items():
        assert tuple(each) == languages.LANGUAGES and all(label.strip() for label in each.values()), name


def test_labels_are_no_part_of_a_rulebook() -> None:
    assert all(book.name != labels.FILE and "labels" not in book.name for book in shipped())
    assert labels.labels("nobody") == labels.labels("../books/hubspot") == {}
    assert labels.label("nobody", "Gold", "de") == "Gold"


def test_a_requirement_in_words() -> None:
    assert labels.requirement("hubspot", "total", "total >= 129.15", "de") == "Punkte gesamt >= 129.15"
    split = "crm_revenue >= (50000 if developing >= 1 else 100000)"
    assert labels.requirement("microsoft-competencies", "crm_revenue", split, "nl") == "netto nieuwe omzet, Cloud CRM"
    assert labels.requirement("acme", "sold", "sold >= (1 if new else 2)", "de") == "sold >= (1 if new else 2)"


# -- what is spoken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"), ({"LANG": "C"}, "en"), ({"LANG": "C.UTF-8"}, "en"), ({"LANG": "POSIX"}, "en"), ({"LANG": "de_AT.UTF-8"}, "de"),
        ({"LANG": "nl"}, "nl"), ({"LANG": "fr_FR.UTF-8"}, "en"), ({"LANG": "de_DE", "LC_MESSAGES": "nl_NL"}, "nl"),
        ({"LANG": "de_DE", "LC_MESSAGES": "nl_NL", "LC_ALL": "C"}, "en"), ({"LANG": "de_DE", "LC_ALL": ""}, "de"),
        ({"LC_ALL": "nl_BE.UTF-8", "POINTS_LEDGER_LANG": "de"}, "de"), ({"LANG": "de_DE", "POINTS_LEDGER_LANG": ""}, "de"),
    ],
)  # fmt: skip
def test_the_language_is_asked_for_or_that_of_the_locale(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], language: str
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "POINTS_LEDGER_LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    heading = {"en": "place  partner", "de": "Platz  Partner", "nl": "plaats  partner"}
    assert points(ledger, "ranking", *AT).stdout.startswith(heading[language])
    for chosen in languages.LANGUAGES:
        assert points(ledger, "--lang", chosen, "ranking", *AT).stdout.startswith(heading[chosen])


def test_a_language_that_there_is_not(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert points(ledger, "--lang", "fr", "ranking").exit_code == 2
    monkeypatch.setenv("POINTS_LEDGER_LANG", "fr")
    result = points(ledger, "ranking")
    assert result.exit_code == 2 and "POINTS_LEDGER_LANG" in result.stderr


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_programs_get_the_same_in_every_language(ledger: Path, words: tuple[str, ...], form: str) -> None:
    told = {points(ledger, "--lang", language, *words, *AT, "-o", form).stdout for language in languages.LANGUAGES}
    assert len(told) == 1


def test_programs_get_the_same_of_other_programmes(scores: Path, licensed: Path) -> None:
    for path, words in (
        (scores, ("achievements", "A")), (scores, ("quick-wins", "A")), (scores, ("nominees",)), (scores, ("awards",)),
        (scores, ("changes", "A", "2014")), (licensed, ("licences", "show", "L")), (licensed, ("licences", "buckets", "L")),
        (licensed, ("licences", "export", "L")), (scores, ("override", "list", "A")),
    ):  # fmt: skip
        for form in ("json", "csv"):
            assert len({points(path, "--lang", language, *words, "-o", form).stdout for language in languages.LANGUAGES}) == 1, words


def test_a_standing_in_german_and_dutch(ledger: Path) -> None:
    german = points(ledger, "--lang", "de", "standing", "P-28", *AT).stdout
    assert "gefährdet        seit 2026-01-15: was bekanntermaßen endet, führt darunter\n" in german
    assert "nicht mehr erfüllt ab 2026-07-14: selbst gewonnene Punkte, 58.91 von 63, 4.09 zu wenig\n" in german
    dutch = points(ledger, "--lang", "nl", "standing", "P-28", *AT).stdout
    assert "niveau vervalt        2027-01-15, daarna geen, als er niets meer gebeurt" in dutch and "om Gold te behouden\n" in dutch
    talk = points(ledger, "--lang", "de", "rebuild").stderr
    assert "36 Partner neu aufgebaut bis Position" in talk
    for language, held, forever, none in (("en", "held", "forever", "0 differences"), ("de", "gehalten", "unbegrenzt", "0 Abweichungen")):
        assert points(ledger, "--lang", language, "membership", "P-05", *AT).stdout.splitlines()[0] == held
        assert f"  {forever}  " in points(ledger, "--lang", language, "counted", "P-05", "sold", *AT).stdout
        assert none in points(ledger, "--lang", language, "verify").stderr
    assert "zertifizierte" in points(ledger, "--lang", "de", "counted", "P-05", *AT).stdout


def test_one_english_word_may_be_two(ledger: Path, tmp_path: Path) -> None:
    """The line of a product and that of a file."""
    words = ("--lang", "de", "client", "P-05", "P-05-C2", *AT)
    assert "Produktlinie" in points(ledger, *words).stdout
    assert "Zeile  Quittung" in points(tmp_path / "x.db", "--lang", "de", "record", input="garbage").stdout
    assert " line " in points(ledger, "client", "P-05", "P-05-C2", *AT).stdout
    assert ",line," in points(ledger, "--lang", "de", "breakdown", "P-05", *AT, "-o", "csv").stdout.splitlines()[0]


def test_a_programme_of_ones_own_shows_its_names(tmp_path: Path) -> None:
    path, book, cases = tmp_path / "x.db", tmp_path / "acme.yaml", tmp_path / "acme-cases.yaml"
    assert points(path, "rules", "new", str(book), "--programme", "acme").exit_code == 0
    assert points(path, "rules", "publish", str(book), "--author", "me", "--golden", str(cases)).exit_code == 0
    enrolled = ("A", "2024-01-01", "partner.enrolled", {"programme": "acme"})
    assert points(path, "record", input=test_cli_programmes.told(enrolled)).exit_code == 0
    shown = points(path, "--lang", "de", "standing", "A").stdout
    assert "Leistungsstufe" in shown and "\nsold " in shown


# -- a language that marks what it says -----------------------------------------------------------------------------------


def mark(message: str) -> str:
    """Everything but the places to fill in."""
    parts = re.split(r"(\{\w+\})", message)
    return "".join(part if part.startswith("{") or not re.search(r"[^\W\d_]", part) else f"⟦{part}⟧" for part in parts)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "translated", mark)
    for module in (cli, labels):
        monkeypatch.setattr(module, "label", lambda programme, name, language: mark(name) if name in labels.labels(programme) else name)


def data_of(path: Path) -> list[str]:
    """What stands in events and in the directory, the longest first: it is nobody's to translate."""
    found: set[str] = set()

    def collect(value: object) -> None:
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(part)
        if isinstance(value, str):
            found.add(value)

    for line in points(path, "export").stdout.splitlines():
        event = json.loads(line)
        collect([event["subject"], {name: value for name, value in event["data"].items() if name not in ("level", "tier", "measure")}])
    words = ("--lang", "en", "ranking", *AT, "--rulebook", "points-2025", "-o", "table")
    found |= set(re.findall(r"\(([^)]+)\)", points(path, *words).stdout)) if "P-28" in found else {"Agency X", "alpha", "Beta", "Contoso"}
    found |= {"cam@programme.example", "consultant@programme.example", "Channel account manager", "Channel consultant"}
    return sorted(found - {"sourced", "hubspot"}, key=len, reverse=True)


def unmarked(shown: str, data: list[str]) -> str:
    """The letters that are neither marked nor data; of the rest, names of rulebooks, hashes, times and options."""
    rest = re.sub(r"⟦[^⟧]*⟧", " ", shown)
    rest = re.sub(r"https://\S+|\b[a-z-]+/[a-z]+-[\d-]+|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\d(T[\d:.]+Z)?", " ", rest)
    for each in data:
        rest = re.sub(rf"(?<![\w-]){re.escape(each)}(?![\w-])", " ", rest)
    return " ".join(re.findall(r"[^\W\d_]+", rest))


SHOWN = [words for words in READING if words[0] not in ("why", "history")]


SHOWN += [("standing", "P-28"), ("standing", "P-20"), ("dashboard", "P-28", "--goal", "Diamond"), ("nominees",), ("awards",)]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
@pytest.mark.usefixtures("marked")
def test_nothing_that_people_read_is_left_in_english(ledger: Path, words: tuple[str, ...]) -> None:
    shown = points(ledger, "--lang", "de", *words, *AT).stdout
    assert "⟦" in shown or words[0] == "override"
    codes = ["sourced", "other"] if "--lots" in words else []  # of a deal and a market
    assert unmarked(shown, data_of(ledger) + codes) == ""


@pytest.mark.usefixtures("marked")
def test_nothing_of_other_programmes_is_left_in_english(scores: Path, licensed: Path) -> None:
    june = ("--as-of", "2014-06-01")
    for path, words in (
        (scores, ("achievements", "A", *june)), (scores, ("quick-wins", "A", *june)), (scores, ("ranking", *june)),
        (scores, ("standing", "A", *june)), (scores, ("nominees", "--year", "2014")), (licensed, ("licences", "buckets", "L")),
        (licensed, ("ranking",)), (licensed, ("licences", "show", "L", "--by", "product", "--by", "client")),
    ):  # fmt: skip
        shown = points(path, "--lang", "de", *words).stdout
        codes = ["second_subscription", "upsell", "adoption"]  # told below the table, in words
        assert unmarked(shown, data_of(path) + codes) == "", words


@pytest.mark.usefixtures("marked")
def test_nothing_of_an_award_is_left_in_english(tmp_path: Path) -> None:
    """Active by two people, of whom one leaves: at risk, and lost at the anniversary."""
    path = tmp_path / "x.db"
    events = [("M", "2018-01-01", "partner.enrolled", {"programme": "microsoft-competencies"})]
    for person in ("H-1", "H-2"):
        events.append(("M", "2018-01-02", "person.linked", {"person": person}))
        events += [("M", "2018-01-02", "certification.earned", {"person": person, "code": code}) for code in ("DO-1", "DO-2", "DO-3")]
    events.append(("M", "2018-02-01", "membership.purchased", {"level": "Silver"}))
    events.append(("M", "2018-05-02", "person.unlinked", {"person": "H-2"}))
    assert points(path, "record", input=test_cli_programmes.told(*events)).exit_code == 0
    codes = ["devops", *data_of(path)]
    for words in (("standing", "M"), ("standing", "M", "--award", "devops"), ("at-risk", "--within", "2y"), ("timeline", "M", "--award", "devops")):
        for as_of in ("2018-03-01", "2018-08-01", "2019-02-15"):
            shown = points(path, "--lang", "nl", *words, "--as-of", as_of)
            assert shown.exit_code == 0 and unmarked(shown.stdout, codes) == "", (words, as_of)


def test_what_is_not_marked_is_found() -> None:
    assert unmarked("⟦place⟧  P-1 (Acme)  credited", ["P-1", "Acme"]) == "credited"
    assert mark("{partner}  as of {when}") == "{partner}⟦  as of ⟧{when}"
