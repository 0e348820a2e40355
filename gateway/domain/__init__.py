"""The words of the business and the rules that hold without any I/O: money, orders, ledger.

Nothing here imports anything but the standard library, so every rule can be tested alone.
"""
