"""What clients ask for, from Docker's JSON to our messages; one file an object.

Pure, and forgiving where Docker's server is: unknown keys are ignored, keys are read in whatever
case. Raises InvalidSpec with the field. What a value may be is said by whoever honours it.
"""
