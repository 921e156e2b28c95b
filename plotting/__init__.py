"""Show what runs have written: tables, bar charts and learning curves, from result files alone."""
