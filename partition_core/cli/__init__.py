"""What is typed on a command line: the only code that knows doit."""
