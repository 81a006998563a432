"""Groups of commands: arguments and what is printed; each group puts its own on the command line."""
