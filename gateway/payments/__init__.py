"""The business's verbs: create, settle, refund, expire. Each is one short path, safe to repeat."""
