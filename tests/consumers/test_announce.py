"""The keys of standings: no two partners share one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.announce import key_of

NAMES = st.text(st.sampled_from("ab/%2F5"), min_size=1, max_size=6)


@given(NAMES, NAMES, NAMES, NAMES)
def test_a_key_is_of_one_partner_in_one_programme(one: str, partner: str, other: str, another: str) -> None:
    assert (key_of(one, partner) == key_of(other, another)) == ((one, partner) == (other, another))


def test_a_key_reads_as_what_it_is() -> None:
    assert key_of("hubspot", "P-1") == b"hubspot/P-1"
    assert key_of("a/b", "c/d") == b"a%2Fb/c/d"
