"""How fast it is: `make bench`. Prints Markdown; wants a quiet machine."""
