"""Real history through the gateway's own door: parse, signature, risk, store, commit.

A back-test that skips the door measures another program. Here each row of a file becomes a
signed request to the very application that serves merchants, at the row's own time, and its
label arrives when it would have been known.
"""
