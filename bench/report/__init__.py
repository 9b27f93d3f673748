"""What is answered: percentiles, verdicts, tables, plots."""
