"""`yumen backtest`: drafts of rules, lists, thresholds and models tried on the gateway's history.

`load` brings the database's decisions and events into columns, `draft` turns what a person wrote
into a change, `display` says what came of it in English and Chinese. The work itself is done by
`models.backtest`.
"""
