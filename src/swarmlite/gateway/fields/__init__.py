"""Tables of fields that came, moved or went with versions of the API: one file a group."""
