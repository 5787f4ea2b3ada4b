"""Pure rules on the messages of `proto`: defaults, validation, task states, placement, names.

It owns what a spec may say and what it means when it is silent. It never does I/O, never looks at
the clock, and knows of no store: the same rules serve the API, the loops, the agent and the CLI.
Nothing here changes what it is given; what fills or expands answers a copy.
"""
