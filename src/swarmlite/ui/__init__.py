"""The page: the cluster in a browser, at https://NODE:2376/ui of a manager where it is enabled.

A process of its own beside the manager, which it asks over the manager's own socket, each call as
the user who is signed in: what a role may, the managers decide at the one place where they decide
it for everybody. HTML is rendered here (`templates`), scripts are ours (`static`), nothing comes
from elsewhere. It keeps sessions in memory and nothing on disk.
"""
