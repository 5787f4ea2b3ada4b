"""Reads Dockerfiles: `parsing.parse` gives stages of instructions, or every problem at once.

`lines` puts lines together (directives, continuations, here-documents), `words` takes them apart
(flags, quotes, variables), `instructions` is what they mean. Source: the Dockerfile reference.
"""
