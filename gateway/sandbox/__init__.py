"""A payment system on loopback that moves no money: payer's page, wire protocols, bills, faults.

It knows nothing of `gateway.channels`: both sides are written from `docs/CHANNELS.md`, so that a
misreading of a protocol can't cancel out. Start reading at `app.build`.
"""
