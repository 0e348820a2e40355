"""Reconciliation: does the channel's bill say what the ledger says, row by row and in sum.

`bills` reads a channel's file and refuses a damaged one whole, `match` gives every record of both
sides exactly one class, `run` loads the ledger's side and keeps the result.
"""
