"""The keys of a compose file's services: each a function that writes into a Draft's spec."""
