"""`swarmlite config`: one file a verb."""
