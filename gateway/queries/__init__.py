"""Typed read models: what the console shows, read from the live database and never written.

Every query is bounded by an index and a limit or a time window, so that a page costs the same on
the first day and with a million orders behind it.
"""
