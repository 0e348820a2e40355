"""Adapters to payment systems, one file each behind one small protocol (`base.Channel`)."""
