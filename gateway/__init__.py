"""Yumen's gateway: merchants in front, payment systems behind, risk and ledger between.

What it promises: an acknowledged order is on disk; none is doubled, none is charged twice; refunds
never exceed what was paid; the ledger adds up to zero after any crash; every success is notified
at least once; and every decision can be replayed from what was stored with it.

Start reading at `gateway.payments.create`, one payment's way in; then `gateway.payments.settle`,
what a payment system's word changes; `gateway.wiring` shows how the parts meet.
"""
