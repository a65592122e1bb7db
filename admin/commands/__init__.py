"""The commands of `headgate`, a function each; admin/cli.py says which module holds which."""
