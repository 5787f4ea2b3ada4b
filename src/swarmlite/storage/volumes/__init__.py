"""Volumes of one host: the driver `local` (`store`), and what fills a new one (`copy_up`).

Nothing is imported here, because `copy_up` is a process of its own that starts with the standard
library only.
"""
