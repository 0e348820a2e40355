"""Features: declared once, computed by one kernel on and offline, documented from the source."""
