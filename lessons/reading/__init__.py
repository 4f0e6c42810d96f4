"""How `import lessons.masking` reads a notebook: its code cells, their statements, the definitions that are run."""
