"""The command line of chgdb: one file per group of commands, no science in them."""
