"""The doors: what merchants, channels and operators may ask, and in which words."""
