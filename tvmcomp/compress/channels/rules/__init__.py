"""How each operator carries channels on: a table of rules."""
