"""`yumen geo`: other people's address ranges in, our own table out."""

import ipaddress
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.commands.geo import app
from gateway.ip_sources import facts_of, is_date
from gateway.refusal import Refused
from risk.geo import shipped
from risk.geo.build import Facts
from risk.geo.table import ANONYMOUS, HOSTING, TOR

RUN = CliRunner()
CN = "1.0.1.0,1.0.3.255,CN\n2400:3200::,2400:3200:ffff:ffff:ffff:ffff:ffff:ffff,CN\n"
NETWORKS = '1.0.2.0,1.0.2.255,16509,"Rented, Inc."\n1.0.3.0,1.0.3.255,64500,Homes\n'


def update(tmp_path: Path, *files: Path, **options: str) -> dict[str, Any]:
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments = ["update", *map(str, files), "--var", str(tmp_path), *words, "--json"]
    result = RUN.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def lookup(tmp_path: Path, ip: str) -> dict[str, Any]:
    result = RUN.invoke(app, ["lookup", ip, "--var", str(tmp_path), "--json"])
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_ranges_in_text_become_the_table_in_use(tmp_path: Path) -> None:
    countries, networks = tmp_path / "countries.csv", tmp_path / "networks.csv"
    countries.write_text(CN)
    networks.write_text(NETWORKS)

    made = update(tmp_path, countries, networks, date="2026-11-01", licence="ours")

    assert made["version"].startswith("countries-2026-11-01-")
    assert made["licence"] == "ours"
    assert lookup(tmp_path, "1.0.1.9")["country"] == "CN"
    assert lookup(tmp_path, "1.0.2.9")["flags"] == ["hosting"]
    assert lookup(tmp_path, "1.0.3.9")["flags"] == []
    assert lookup(tmp_path, "::ffff:1.0.3.9")["country"] == "CN"
    assert lookup(tmp_path, "2400:3200::9")["country"] == "CN"
    assert lookup(tmp_path, "8.8.8.8")["country"] is None


def test_without_a_table_of_ones_own_the_shipped_one_answers(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["show", "--var", str(tmp_path), "--json"])
    found = json.loads(result.stdout.splitlines()[-1])

    assert found["version"] == shipped().version
    assert "DB-IP" in found["attribution"]
    assert lookup(tmp_path, "8.8.8.8")["country"] == "US"


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        (CN, {}, "--date"),
        (CN, {"date": "yesterday"}, "--date"),
        ("1.0.1.0,somewhere,CN\n", {"date": "2026-11-01"}, "no address ranges"),
        ("1.0.1.0\n", {"date": "2026-11-01"}, "no address ranges"),
    ],
)
def test_what_can_not_be_read_is_refused_and_changes_nothing(
    tmp_path: Path, content: str, options: dict[str, str], problem: str
) -> None:
    path = tmp_path / "ranges.csv"
    path.write_text(content)

    with pytest.raises(Refused, match=problem):
        update(tmp_path, path, **options)
    assert not (tmp_path / "geo").exists()


def test_no_address_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no IP address"):
        RUN.invoke(app, ["lookup", "here", "--var", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        ({"country": {"iso_code": "CN"}}, Facts("CN", 0)),
        ({"registered_country": {"iso_code": "de"}}, Facts("DE", 0)),
        ({"country_code": "US", "latitude": 1.5, "longitude": -2.25}, None),
        ({"autonomous_system_number": 16509}, Facts(None, HOSTING, 16509)),
        ({"traits": {"is_tor_exit_node": True}}, Facts(None, TOR | ANONYMOUS)),
        ({"is_anonymous_vpn": True, "is_hosting_provider": False}, Facts(None, ANONYMOUS)),
        ({"country": "China", "asn": "x", "latitude": 1e9, "longitude": 0}, Facts(None, 0)),
    ],
)
def test_records_of_the_usual_publishers_are_understood(
    record: dict[str, object], facts: Facts | None
) -> None:
    wanted = facts or Facts("US", 0, None, (1_500_000, -2_250_000))

    assert facts_of(record) == wanted


def test_a_date_is_a_day() -> None:
    assert is_date("2026-11-22")
    assert not any(is_date(text) for text in ("", "2026-13-01", "20261122", "22.11.2026"))


def test_an_mmdb_file_is_read_by_its_own_rules(tmp_path: Path) -> None:
    pytest.importorskip("maxminddb", reason="an optional dependency, in the extra `geo`")
    path = tmp_path / "small.mmdb"
    path.write_bytes(
        mmdb(
            {
                "1.0.0.0/24": {"country": {"iso_code": "AU"}},
                "1.0.1.0/24": {"country": {"iso_code": "CN"}, "is_hosting_provider": True},
                "2400:3200::/32": {"country": {"iso_code": "CN"}},
            }
        )
    )

    made = update(tmp_path, path)

    assert made["source"] == "small-test"
    assert made["date"] == "2026-06-01"
    assert lookup(tmp_path, "1.0.0.255")["country"] == "AU"
    assert lookup(tmp_path, "1.0.1.0") | {"version": ""} == {
        "ip": "1.0.1.0",
        "country": "CN",
        "flags": ["hosting"],
        "asn": None,
        "latitude": None,
        "longitude": None,
        "version": "",
    }
    assert lookup(tmp_path, "1.0.2.0")["country"] is None
    assert lookup(tmp_path, "2400:3200:ffff::")["country"] == "CN"


def mmdb(networks: dict[str, dict[str, object]]) -> bytes:
    """A database in MaxMind's published format (version 2.0): a tree of bits, then records."""
    nodes: list[list[int | None]] = [[None, None]]
    data = bytearray()
    for text, record in networks.items():
        network = ipaddress.ip_network(text)
        bits, length = int(network.network_address), network.prefixlen
        if network.version == 4:
            length += 96
        node = 0
        for place in range(length - 1):
            side = bits >> (127 - place) & 1
            child = nodes[node][side]
            if child is None:
                nodes.append([None, None])
                child = nodes[node][side] = len(nodes) - 1
            node = child
        nodes[node][bits >> (128 - length) & 1] = -1 - len(data)
        data += packed(record)
    tree = bytearray()
    for pair in nodes:
        for child in pair:
            empty = len(nodes)
            pointer = empty if child is None else child
            tree += (pointer if pointer >= 0 else empty + 16 + (-1 - pointer)).to_bytes(4, "big")
    metadata = {
        "binary_format_major_version": (">H", 2),
        "binary_format_minor_version": (">H", 0),
        "build_epoch": (">Q", 1_780_272_000),
        "database_type": "Small Test",
        "description": {},
        "ip_version": (">H", 6),
        "languages": [],
        "node_count": (">I", len(nodes)),
        "record_size": (">H", 32),
    }
    return bytes(tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + packed(metadata))


def packed(value: object) -> bytes:
    """One value of the format's data section."""
    match value:
        case dict():
            parts = [packed(key) + packed(found) for key, found in value.items()]
            return bytes([7 << 5 | len(value)]) + b"".join(parts)
        case bool():
            return bytes([int(value), 14 - 7])
        case (">Q", int(number)):
            return bytes([8, 9 - 7]) + struct.pack(">Q", number)
        case (str(size), int(number)):
            return bytes([5 << 5 | 2] if size == ">H" else [6 << 5 | 4]) + struct.pack(size, number)
        case list():
            return bytes([0, 11 - 7])
        case _:
            text = str(value).encode()
            return bytes([2 << 5 | len(text)]) + text
