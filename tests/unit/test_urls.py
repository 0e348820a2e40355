"""Where a merchant may send the gateway."""

import pytest

from gateway.domain.errors import InvalidParameter
from gateway.domain.urls import address_allowed, check_url

PUBLIC = [
    "https://shop.example/notify",
    "http://shop.example:8080/n?a=1&b=%E8%8C%B6",
    "https://8.8.8.8/n",
    "https://[2606:4700::1111]/n",
    "https://xn--fiq228c.example/",
]
INSIDE = [
    "http://127.0.0.1/n",
    "http://127.0.0.1:9000/n",
    "http://10.1.2.3/n",
    "http://192.168.0.1/n",
    "http://172.16.9.9/n",
    "http://[::1]/n",
    "http://[fd00::1]/n",
    "http://[::ffff:127.0.0.1]/n",
    "http://localhost:9000/n",
    "http://a.localhost/n",
]
NEVER = [
    "",
    "shop.example/notify",
    "/notify",
    "ftp://shop.example/n",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https://",
    "https:///n",
    "https://user:secret@shop.example/n",
    "https://user@127.0.0.1/n",
    "https://shop.example:0/n",
    "https://shop.example:99999/n",
    "https://shop.example:x/n",
    "https://shop.example/a b",
    "https://shop.example/\n",
    "https://shop.example\\@evil.example/",
    "https://\u5546\u5e97.example/",
    "https://shop.example/" + "a" * 512,
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/n",
    "http://[fe80::1%25eth0]/n",
    "http://0.0.0.0/n",
    "http://224.0.0.1/n",
    "http://2130706433/n",
    "http://0x7f.1/n",
    "http://0177.0.0.1/n",
    "http://127.1/n",
    "http://[64:ff9b::a9fe:a9fe]/n",
    "http://[::1/n",
    "http://a..b/n",
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_address_is_taken(url: str) -> None:
    assert check_url(url, field="notify_url") == url


@pytest.mark.parametrize("url", INSIDE)
def test_an_address_inside_is_taken_in_sandbox_mode_alone(url: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_url(url, field="notify_url")

    assert refused.value.field == "notify_url"
    assert check_url(url, field="notify_url", sandbox_mode=True) == url


@pytest.mark.parametrize("url", NEVER)
@pytest.mark.parametrize("sandbox_mode", [False, True])
def test_what_is_no_safe_url_is_never_taken(url: str, sandbox_mode: bool) -> None:
    with pytest.raises(InvalidParameter):
        check_url(url, field="notify_url", sandbox_mode=sandbox_mode)


@pytest.mark.parametrize("address", ["", "shop.example", "1.2.3", "1.2.3.4.5", "::g"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert not address_allowed(address, sandbox_mode=True)
