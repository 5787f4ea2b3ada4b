"""What a build is given: a folder, a tar, a Dockerfile, an address; as a stream of a tar.

`patterns` says what .dockerignore leaves out, `packing` makes a tar of a folder, `sources` finds
out what a word of the command line means, `remote` brings what is elsewhere. Blocking, for who has
a thread or a process of their own; nothing here asks the engine, nothing is held in memory whole.
"""
