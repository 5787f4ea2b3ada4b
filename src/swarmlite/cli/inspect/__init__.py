"""Objects as the JSON that Docker's API and `inspect` show: its key names, units and enum words.

Pure functions from messages to dicts, without click or gRPC, for every front end that speaks
Docker's JSON. Secrets' data never comes in here.
"""
