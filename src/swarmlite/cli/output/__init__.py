"""How lists and templates are printed: Docker's tables, Go's templates, human durations."""
