"""The command line of chgdb."""
