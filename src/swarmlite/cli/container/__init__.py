"""`swarmlite container`: one file a verb."""
