"""`swarmlite stack`: one file a verb."""
