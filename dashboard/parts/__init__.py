"""What the pages share: one look, two languages, one way to read and one to write."""
