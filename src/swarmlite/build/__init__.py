"""Dockerfiles to images, through engine and storage.

So far its first part: `dockerfile` reads a Dockerfile, whole, and says all that is wrong with it
at once. It runs nothing and reads no files but those that it is given.
"""
