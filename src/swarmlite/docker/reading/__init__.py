"""The way back: what clients send as Docker's JSON, as our messages. Pure.

One file an object, each reading `swarmlite.docker.fields.Fields`: a word that is not known, a
number out of its bounds and a field that no message has a place for are refused by their path.
What the rules of specs say to the rest is the managers' to tell, who refuse by name what is not
honoured.
"""
