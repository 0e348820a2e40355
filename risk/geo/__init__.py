"""Facts about places, offline: which country an address is in, its clock, its holidays.

`table` finds an address in a compact table that ships with the product (or a newer one that the
operator converted); `build` makes such a table; `zones`, `calendar` and `language` say what time
it is in a country, whether it is a holiday there and which languages are at home.
"""

from risk.geo.table import NOWHERE, IpTable, Place, TableRefused, newest, shipped

__all__ = ["NOWHERE", "IpTable", "Place", "TableRefused", "newest", "shipped"]
