"""The console: what operators see of the gateway, in Chinese and English.

It reads through `gateway.queries`, on a connection that can't write, and changes things only by
asking the admin API, where every change is checked, attributed to a person and audited.
"""
