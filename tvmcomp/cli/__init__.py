"""The command line: one module a subcommand. Each parses, calls the API, and prints."""
