"""The command line. Commands parse arguments and call the library."""
