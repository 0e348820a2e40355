"""The wire protocols the sandbox speaks, one file each, named as the adapter it answers."""
