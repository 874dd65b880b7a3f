"""The guards of the door: pure preconditions. State in, a refusal or None out; they read no log, no clock and no file.

An input is judged in this order, and the first refusal is its answer, so that the same input is refused with the same code:

1. the envelope and the data, by `ledger.events` (its codes);
2. the receipts: the same source and id with the same bytes is a duplicate, with other bytes `id_reused`;
3. every input: `source_reserved`, `recorded_time_unexpected` (or, in a migration, `recorded_time_missing`,
   `recorded_time_backwards`, `recorded_time_ahead`), `subject_missing`, `effective_time_out_of_range`, `currency_unknown`,
   `servicing_partners_below_one`;
4. its kind: `rulebook_hash_differs`; `override_target`, `override_unreasoned`, `override_end_before_start`;
   `loss_target`;
5. what stands before it: `override_exists`, `override_not_found`, `override_ended`, `override_not_over`;
   `reversal_not_found`, `reversal_of_reversal`, `reversal_elsewhere`, `reversed_before`; `lot_not_found`, `lot_elsewhere`, `lot_not_a_lot`,
   `lot_reversed`; `association_too_soon`, `associations_used_up` where the ledger limits how often a person moves.

The guards know nothing of rulebooks: a currency without a row in some book is a fact all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import Refusal
from ledger.events.envelope import Event
from ledger.instants import Instant, Span, parse, plus, text
from ledger.streams import LEDGER, Past, needs_subject, partner_stream

EFFECTIVE_FIRST: Instant = parse("1990-01-01")
EFFECTIVE_END: Instant = parse("2200-01-01")

LOTS = frozenset({"points.sold.v1", "points.adjusted.v1"})

# ISO 4217: the codes of list one and list three that were in use at some time since 1990, funds and metals included; not XXX
# (no currency) and XTS (tests).
_ISO_4217 = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL
    HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU
    UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW ZWG ADP AFA
    AOK AON AOR ARA ARP AZM BAD BEC BEF BEL BGJ BGK BGL BRB BRC BRE BRN BRR BYB BYR CHC CSD CSK CUC CYP DDM DEM ECS ECV EEK
    ESA ESB ESP FIM FRF GEK GHC GRD GWP HRD HRK IEP ITL LTL LTT LUC LUF LUL LVL LVR MGF MRO MTL MXP MZM NIC NLG PEI PLZ PTE
    ROL RUR SDD SDP SIT SKK SLL SRG STD SUR TJR TMM TPE TRL UAK UGS USS UYP VEB VEF XEU XFO XFU XRE YDD YUD YUM YUN ZAL ZMK
    ZRN ZRZ ZWC ZWD ZWL ZWN ZWR
"""
CURRENCIES = frozenset(_ISO_4217.split())

Check = Callable[[Event], Refusal | None]


def sane(event: Event) -> Refusal | None:
    """Steps 3 and 4: what can be said of an input by itself."""
    _, source, kind, subject, effective_at, *_ = event
    if source == LEDGER or (subject is None and needs_subject(event)) or not EFFECTIVE_FIRST <= effective_at < EFFECTIVE_END:
        return _insane(event)
    for check in CHECKS.get(kind, ()):
        if refusal := check(event):
            return refusal
    return None


def _insane(event: Event) -> Refusal:
    if event.source == LEDGER:
        hint = f"name the system that says so, such as '{LEDGER}/expire'"
        return Refusal("source_reserved", f"the source {LEDGER!r} is the ledger's own", hint, "source")
    if event.subject is None and needs_subject(event):
        return Refusal("subject_missing", f"{event.kind} does not say whom it is about", "name the partner", "subject")
    said = f"{text(event.effective_at)} is not within [1990, 2200)"
    return Refusal("effective_time_out_of_range", said, "check the year", "time")


def currency(event: Event) -> Refusal | None:
    code = event.data.currency
    if code is None or code in CURRENCIES:
        return None
    return Refusal("currency_unknown", f"{code} is not a currency of ISO 4217", "use a code such as EUR", "data.currency")


def servicing_partners(event: Event) -> Refusal | None:
    if event.data.servicing_partners >= 1:
        return None
    return Refusal(
        "servicing_partners_below_one",
        f"{event.data.servicing_partners} partners cannot share a client",
        "count the partners that service it, this one included",
        "data.servicing_partners",
    )


def rulebook_hash(event: Event) -> Refusal | None:
    found = sha256(event.data.text.encode()).hexdigest()
    if event.data.hash == found:
        return None
    return Refusal("rulebook_hash_differs", "the hash is not that of the text", f"the text's sha256 is {found}", "data.hash")


def reasoned(event: Event) -> Refusal | None:
    """An exception to the rules is somebody's, for a reason."""
    for name in ("reason", "author"):
        if not getattr(event.data, name).strip():
            return Refusal("override_unreasoned", f"it has no {name}", "say why, and who decided", f"data.{name}")
    return None


def override_target(event: Event) -> Refusal | None:
    data = event.data
    if sum(target is not None for target in (data.tier, data.requirement, data.points)) == 1:
        if (data.points is None) is (data.measure is None):
            return None
        hint = "say of which measure they are" if data.measure is None else "say how many"
        return Refusal("override_target", "points and their measure go together", hint, "data")
    return Refusal("override_target", "it must grant one thing", "name a tier, a requirement or a number of points", "data")


def override_end(event: Event) -> Refusal | None:
    if parse(event.data.until) > event.effective_at:
        return None
    return Refusal("override_end_before_start", "it ends before it starts", "give a later end", "data.until")


def loss_target(event: Event) -> Refusal | None:
    """A line alone is no target either: every sale has a client."""
    if event.data.client is not None or event.data.lot is not None:
        return None
    return Refusal("loss_target", "it does not say what is lost", "name the client (and line), or one lot", "data")


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "points.sold.v1": (currency,),
    "points.managed.v1": (currency, servicing_partners),
    "points.lost.v1": (loss_target,),
    "client.subscription_started.v1": (currency,),
    "client.subscription_changed.v1": (currency,),
    "renewal.scheduled.v1": (currency,),
    "rulebook.published.v1": (rulebook_hash,),
    "override.granted.v1": (override_target, reasoned, override_end),
    "override.revoked.v1": (reasoned,),
    "event.reversed.v1": (reasoned,),
}


def recorded_time(event: Event, *, migrate: bool, last: Instant, now: Instant) -> Refusal | None:
    """A recorded time is the door's to give; a migration carries that of the former system, in order."""
    at = event.recorded_hint
    match (migrate, at):
        case (False, None):
            return None
        case (False, _):
            return Refusal("recorded_time_unexpected", "only a migration carries recorded times", "leave it out", "recordedtime")
        case (True, None):
            return Refusal("recorded_time_missing", "a migration says when it was recorded", "add it", "recordedtime")
    assert at is not None
    if at < last:
        return Refusal("recorded_time_backwards", f"{text(at)} is before {text(last)}", "sort by it", "recordedtime")
    if at > now:
        return Refusal("recorded_time_ahead", f"{text(at)} is still to come", "check the clock of its source", "recordedtime")
    return None


class Associations(NamedTuple):
    """How often a person may move from partner to partner: so many links within a span, and a rest after each. From `since` on."""

    since: Instant
    at_most: int = 3
    within: Span = Span(months=12)
    rest: Span = Span(days=30)


def association(event: Event, past: Past, limits: Associations) -> Refusal | None:
    """A new link; `past` is that of the person. A refusal names the first instant at which it would be taken."""
    at = event.effective_at
    begun, partner = _associations(past, at)
    if at < limits.since or not begun or partner == event.subject:
        return None
    rested = plus(begun[-1], limits.rest)
    free = plus(begun[-limits.at_most], limits.within) if len(begun) >= limits.at_most else rested
    possible = max(rested, free)
    if at >= possible:
        return None
    if at < free and len(begun) >= limits.at_most:
        said = f"{event.data.person} was linked {limits.at_most} times within {limits.within}"
        return Refusal("associations_used_up", said, f"possible from {text(possible)}", "time")
    said = f"{event.data.person} was linked on {text(begun[-1])}, and a link rests for {limits.rest}"
    return Refusal("association_too_soon", said, f"possible from {text(possible)}", "time")


def _associations(past: Past, at: Instant) -> tuple[list[Instant], str | None]:
    """When each association began up to an instant, and the partner of the last if it stands: the same link said again begins none."""
    begun: list[Instant] = []
    partner: str | None = None
    for event in sorted([each for each in past.events if each.effective_at <= at], key=lambda each: each.effective_at):
        if event.kind != "person.linked.v1":
            partner = None if event.subject in (None, partner) else partner
        elif event.subject != partner:
            begun.append(event.effective_at)
            partner = event.subject
    return begun, partner


def granting(event: Event, past: Past) -> Refusal | None:
    """An override's id is used once."""
    if past.override(event.data.override) is None:
        return None
    return Refusal("override_exists", f"override {event.data.override} was granted before", "choose another id", "data.override")


def ending(event: Event, past: Past) -> Refusal | None:
    """A revocation or a lapse names an override that stands: granted, not revoked, not over; a lapse comes when it is over."""
    found = past.override(event.data.override)
    if found is None:
        return Refusal("override_not_found", f"there is no override {event.data.override}", "list them", "data.override")
    if found.ended(event):
        return Refusal("override_ended", f"override {event.data.override} has ended", "nothing is left to do", "data.override")
    if event.kind == "override.lapsed.v1" and event.effective_at < found.until:
        return Refusal("override_not_over", f"it lasts until {text(found.until)}", "revoke it instead", "time")
    return None


def reversal(event: Event, target: Event | None, streams: frozenset[str], past: Past) -> Refusal | None:
    """A reversal names an input that exists, of this partner, is no reversal itself and stands unreversed.

    `streams` are those that hold the target or copies of it; `past` is that of the target's own stream.
    """
    named = event.data.reverses
    if target is None:
        return Refusal(
            "reversal_not_found",
            f"no event {named.id} of {named.source} was recorded",
            "name the source and the id of the input; a copy is reversed with its cause",
            "data.reverses",
        )
    if target.kind == "event.reversed.v1":
        return Refusal("reversal_of_reversal", "a reversal is not reversed", "record the fact anew, with a new id", "data.reverses")
    if event.subject is not None and partner_stream(event.subject) not in streams:
        return Refusal("reversal_elsewhere", f"it is not an event of {event.subject}", "leave the partner out", "subject")
    if (target.source, target.id) in past.reversed:
        return Refusal("reversed_before", f"{named.id} of {named.source} is reversed already", "nothing is left to do", "data.reverses")
    return None


def loss(event: Event, lot: Event | None, past: Past) -> Refusal | None:
    """A loss that names a lot names one of this partner that stands; `past` is that of the partner."""
    named = event.data.lot
    if lot is None:
        return Refusal("lot_not_found", f"no event {named.id} of {named.source} was recorded", "name the sale", "data.lot")
    if lot.kind not in LOTS:
        return Refusal("lot_not_a_lot", f"{lot.kind} brings no lot", "name a sale", "data.lot")
    if lot.subject != event.subject:
        return Refusal("lot_elsewhere", f"it is a lot of {lot.subject}", "check the partner", "data.lot")
    if (lot.source, lot.id) in past.reversed:
        return Refusal("lot_reversed", f"{named.id} of {named.source} was reversed", "nothing is left to lose", "data.lot")
    return None
