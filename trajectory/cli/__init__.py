"""The command line: typed flags, settings, run records, logging and exit codes."""
