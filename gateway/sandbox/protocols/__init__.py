"""The wire protocols the sandbox speaks, one file each, named as in `gateway.channels`."""
