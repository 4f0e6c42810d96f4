"""Stretch exercises: for who wants more. They earn nothing and nobody is asked for them; a file a lesson holds the
checks of its exercise and all that they need. `pytest checks --stretch` runs them."""
