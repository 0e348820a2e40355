"""Facts about places: the shipped table, clocks, calendars and languages."""

import ipaddress
from datetime import date
from pathlib import Path

import pytest

from risk.geo import NOWHERE, TableRefused, newest, shipped
from risk.geo.address import special_ranges
from risk.geo.build import Facts, Overlap, Range, build, overlay
from risk.geo.calendar import FIRST_DAY, day_kind, is_payday
from risk.geo.distance import metres_between
from risk.geo.language import LANGUAGES, at_home, primary
from risk.geo.table import FILE_NAME, HOSTING, MAGIC, PRIVATE, SHIPPED, Credit, load
from risk.geo.zones import ZONES, gap_min

CREDIT = Credit(source="made", date="2026-01-02", licence="none", attribution="nobody")
# Networks that have been where they are for decades.
KNOWN = {
    "202.96.128.86": "CN",
    "61.135.0.1": "CN",
    "133.0.0.1": "JP",
    "168.126.63.1": "KR",
    "212.58.244.1": "GB",
    "8.8.8.8": "US",
    "2001:da8::1": "CN",
    "2001:200::1": "JP",
    "2a01:4f8::1": "DE",
}


def day(text: str) -> int:
    year, month, number = (int(part) for part in text.split("-"))

    return date(year, month, number).toordinal() - date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(("ip", "country"), KNOWN.items())
def test_the_shipped_table_knows_old_networks(ip: str, country: str) -> None:
    assert shipped().find(ip).country == country


@pytest.mark.parametrize(
    "ip", ["10.1.2.3", "127.0.0.1", "100.64.0.9", "192.0.2.1", "224.0.0.1", "::1", "fe80::1", "::"]
)
def test_a_private_address_is_nowhere_and_says_so(ip: str) -> None:
    place = shipped().find(ip)

    assert (place.country, place.flags) == (None, PRIVATE)


@pytest.mark.parametrize("ip", [None, "", "somewhere", "1.2.3", "300.1.1.1", "\x00", "\udcff"])
def test_what_is_no_address_is_nowhere(ip: str | None) -> None:
    assert shipped().find(ip) == NOWHERE


def test_machines_for_rent_are_marked() -> None:
    assert shipped().find("52.95.110.1").flags == HOSTING
    assert shipped().find("202.96.128.86").flags == 0


def test_the_shipped_table_credits_its_sources_in_readable_lines() -> None:
    head = SHIPPED.read_bytes()[:600]

    assert head.startswith(MAGIC)
    assert b"CC BY 4.0" in head
    assert b"DB-IP" in head
    assert b"2026-06-01" in head
    assert shipped().version.startswith("dbip-lite-2026-06-01-")
    assert SHIPPED.stat().st_size < 3_000_000


def test_ranges_of_a_country_are_its_own_and_nobody_elses() -> None:
    table = shipped()
    ranges = table.ranges_of("JP")

    assert len(ranges) > 100
    for first, end in ranges[:: len(ranges) // 50].tolist():
        for number in (first, end - 1):
            assert table.find(str(ipaddress.IPv4Address(number))).country == "JP"
    assert len(table.ranges_of("??")) == 0


def test_special_ranges_begin_where_the_standard_library_says_nothing_is_global() -> None:
    for first, last in special_ranges(4):
        address = ipaddress.IPv4Address(first)
        assert not address.is_global or address.is_multicast
        assert last > first


def test_a_source_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(Overlap, match="begins at 5"):
        overlay(4, [[Range(1, 5, Facts("CN")), Range(5, 9, Facts("US"))]])


@pytest.mark.parametrize("damage", ["other", "cut", "flipped", "header"])
def test_a_damaged_table_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    build(path, CREDIT, {4: overlay(4, []), 6: overlay(6, [])})
    data = bytearray(path.read_bytes())
    if damage == "other":
        data = bytearray(b"something else\n")
    elif damage == "cut":
        del data[-3:]
    elif damage == "flipped":
        data[-2] ^= 1
    else:
        data = data.replace(b'"kinds"', b'"kinde"')
    path.write_bytes(data)

    with pytest.raises(TableRefused, match="yumen geo update"):
        newest(tmp_path)


def test_the_operators_own_table_comes_first_and_has_its_own_version(tmp_path: Path) -> None:
    ours = Range(0x08080808, 0x08080808, Facts("CN", position=(1_000_000, 2_000_000)))
    build(tmp_path / FILE_NAME, CREDIT, {4: overlay(4, [[ours]]), 6: overlay(6, [])})
    own = newest(tmp_path)

    assert own.find("8.8.8.8")[:1] == ("CN",)
    assert (own.find("8.8.8.8").lat, own.find("8.8.8.8").lon) == (1_000_000, 2_000_000)
    assert own.version.startswith("made-2026-01-02-")
    assert newest(tmp_path / "empty") is shipped()
    assert load(tmp_path / FILE_NAME).version == own.version


def test_a_newer_table_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for country in ("CN", "US"):
        rows = overlay(4, [[Range(0x08080808, 0x08080808, Facts(country))]])
        build(path, CREDIT, {4: rows, 6: overlay(6, [])})

    assert newest(tmp_path).find("8.8.8.8").country == "US"
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("country", "text", "kind"),
    [
        ("CN", "2026-02-17", 2),  # Spring Festival.
        ("CN", "2026-02-14", 3),  # A Saturday worked for it.
        ("CN", "2026-02-25", 0),
        ("CN", "2026-02-28", 3),
        ("CN", "2025-10-01", 2),
        ("US", "2026-11-26", 2),  # Thanksgiving.
        ("DE", "2026-10-03", 2),
        ("JP", "2026-11-22", 1),
        ("GB", "2026-11-23", 0),
        ("SA", "2026-11-20", 1),  # A Friday.
        ("SA", "2026-11-22", 0),
    ],
)
def test_days_are_what_the_countrys_calendar_says(country: str, text: str, kind: int) -> None:
    assert day_kind(country, day(text)) == kind


def test_no_table_no_answer() -> None:
    assert day_kind("XX", day("2026-01-01")) is None
    assert day_kind("CN", FIRST_DAY - 1) is None
    assert day_kind("CN", day("2031-01-01")) is None
    assert day_kind("CN", day("2030-12-31")) == 0


def test_wages_come_on_round_days_and_at_a_months_end() -> None:
    days = [f"2026-02-{number:02}" for number in (1, 2, 14, 15, 27, 28)]

    assert [is_payday(day(text)) for text in days] == [True, False, False, True, False, True]


def test_clocks_of_wide_countries_all_count_as_at_home() -> None:
    assert [gap_min("US", minutes) for minutes in (-480, -240, 0)] == [0, 0, 240]
    assert gap_min("CN", -300) == 660
    assert gap_min("DE", 120) == 0
    assert len(ZONES) > 240


def test_languages_know_their_homes() -> None:
    assert at_home(primary("zh-CN"), "SG") is True
    assert at_home(primary("vi"), "US") is False
    assert at_home(primary("en-US,en;q=0.9"), "CN") is None
    assert at_home(primary("xx"), "CN") is None
    assert all(len(home) == 2 for homes in LANGUAGES.values() for home in homes)


def test_distances_are_close_to_the_globes() -> None:
    beijing_shanghai_m = metres_between(39_904_000, 116_407_000, 31_230_000, 121_474_000)

    assert abs(beijing_shanghai_m - 1_068_000) < 10_000
    assert metres_between(0, 179_900_000, 0, -179_900_000) < 23_000
