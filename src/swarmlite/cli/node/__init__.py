"""`swarmlite node`: one file a verb."""
