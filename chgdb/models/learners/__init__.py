"""Property models, one a file. `chgdb.models` says what a model has to offer."""
