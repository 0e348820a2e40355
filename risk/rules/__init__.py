"""Rules analysts can write: a small checked language, and the set that ships."""
