"""An address is found in the range that holds it: at every edge, for any sources."""

import ipaddress
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk.geo.address import address_of, special_ranges
from risk.geo.build import Facts, Range, build, overlay
from risk.geo.table import HOSTING, PRIVATE, Credit, IpTable, load

CREDIT = Credit(source="made", date="2026-01-02", licence="none", attribution="nobody")
BITS = {4: 32, 6: 128}
facts = st.builds(
    Facts,
    country=st.sampled_from(["CN", "US", "DE", None]),
    flags=st.sampled_from([0, HOSTING, None]),
    asn=st.sampled_from([None, 64_500]),
    position=st.sampled_from([None, (31_230_000, 121_470_000), (-90_000_000, -1)]),
)


@st.composite
def sources(draw: st.DrawFn, version: int) -> list[list[Range]]:
    """Up to three sources, each of ranges that don't touch; many begin inside one /64."""
    most = (1 << BITS[version]) - 1
    near = st.integers(0, 2_000).map(lambda n: (0x2400_CB00 << 96 if version == 6 else 0) + n)
    number = st.one_of(st.integers(0, most), st.sampled_from([0, 1, most - 1, most]), near)
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        edges = sorted(draw(st.lists(number, min_size=2, max_size=12, unique=True)))
        pairs = zip(edges[::2], edges[1::2], strict=False)
        layers.append([Range(first, last, draw(facts)) for first, last in pairs])
    return layers


def text_of(version: int, number: int) -> str:
    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))


def expected(version: int, layers: list[list[Range]], number: int) -> Facts:
    """What the definition says, by looking at everything."""
    if any(first <= number <= last for first, last in special_ranges(version)):
        return Facts(flags=PRIVATE)
    said = [r.facts for layer in layers for r in layer if r.first <= number <= r.last]
    flags = 0
    for fact in said:
        flags |= fact.flags or 0
    return Facts(
        next((f.country for f in said if f.country), None),
        flags,
        next((f.asn for f in said if f.asn), None),
        next((f.position for f in said if f.position), None),
    )


def table_of(merged: dict[int, list[tuple[int, Facts]]]) -> IpTable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ip.table"
        build(path, CREDIT, merged)
        return load(path)


@settings(max_examples=80, deadline=None)
@given(v4=sources(4), v6=sources(6), more=st.lists(st.integers(0, (1 << 128) - 1), max_size=10))
@example(v4=[], v6=[[Range(0x2400 << 112, (0x2400 << 112) + 5, Facts("CN"))]], more=[])
def test_every_edge_and_its_neighbours_are_found_where_they_belong(
    v4: list[list[Range]], v6: list[list[Range]], more: list[int]
) -> None:
    table = table_of({4: overlay(4, v4), 6: overlay(6, v6)})
    for version, layers in ((4, v4), (6, v6)):
        most = (1 << BITS[version]) - 1
        edges = {n for layer in layers for r in layer for n in (r.first, r.last)}
        edges |= {n for pair in special_ranges(version) for n in pair}
        around = {n + step for n in edges for step in (-1, 0, 1)} | {n & most for n in more}
        for number in around:
            if not 0 <= number <= most or (version == 6 and number >> 32 == 0xFFFF):
                continue
            place = table.find(text_of(version, number))
            wanted = expected(version, layers, number)
            assert (place.country, place.flags) == (wanted.country, wanted.flags or 0), number
            assert place.asn == (wanted.asn or 0)
            assert (place.lat, place.lon) == (wanted.position or (None, None))


@given(st.integers(0, (1 << 32) - 1))
@settings(max_examples=200)
def test_an_address_mapped_into_ipv6_is_the_ipv4_address(number: int) -> None:
    plain = ipaddress.IPv4Address(number)

    assert address_of(str(plain)) == (4, number)
    assert address_of(f"::ffff:{plain}") == (4, number)
    assert address_of(ipaddress.IPv6Address((0xFFFF << 32) + number).exploded) == (4, number)


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=40)))
@settings(max_examples=400)
@example("1.2.3.04")
@example("1.2.3.4 ")
@example("0x7f.1")
@example("１.2.3.4")
@example("fe80::1%eth0")
@example("::ffff:1.2.3.4")
@example("1.2.3.4\n")
def test_what_is_an_address_is_what_the_standard_library_says(text: str) -> None:
    try:
        standard = ipaddress.ip_address(text)
    except ValueError:
        assert address_of(text) is None
        return
    zoned = getattr(standard, "scope_id", None)
    mapped = getattr(standard, "ipv4_mapped", None)
    wanted = (4, int(mapped)) if mapped else (standard.version, int(standard))
    assert address_of(text) == (None if zoned else wanted)
