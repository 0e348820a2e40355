"""Where the truth lives: one database, written by one writer, each change whole or not at all."""
