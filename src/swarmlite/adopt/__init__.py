"""Taking over a Docker Swarm: what its API tells of it, as objects of a cluster of ours.

`source.py` asks a Docker API, wherever it listens; `plan.py` decides, from what that said and from
what is here already, what is to be made, what cannot be and why, and what a person has to see to;
`carry_out.py` makes it. Nothing is changed on the other side, and nothing here that has the name.
"""
