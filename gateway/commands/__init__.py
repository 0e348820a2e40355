"""Groups of `yumen` commands, one file a group; `gateway.cli` registers them."""
