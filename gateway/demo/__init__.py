"""The demo: everything started, synthetic merchants and payers at work, every promise checked.

It is a user of the gateway like any other: signed HTTP requests through the SDK, notifications
received on a port of its own, payments made on the sandbox's page. At the end it reads the
database and exits 0 only if every invariant held.
"""
