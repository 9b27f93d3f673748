"""One file a question, named as on the command line: `QUESTION`, and `run`, which answers it."""
