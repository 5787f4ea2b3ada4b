"""A compose file in its long form: what `stack config` prints and `stack deploy` reads.

`values` are the ways in which a value is written and the one in which it stays, `service` and
`objects` say which key has which. Everything is looked at: types, unknown keys, notations; not
whether what is named is there, which is for deploy. Nodes keep the place that they come from.
"""
