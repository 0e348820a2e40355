"""The seven families of evidence, each a table of declarations that knows no other."""
