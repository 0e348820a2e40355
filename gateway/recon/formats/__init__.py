"""The channels' bill formats, one file each, named as in `gateway.channels`."""
