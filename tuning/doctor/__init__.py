"""`pollux doctor`: reads the host and says, item by item, what is right, what could be better and
what is wrong, each with the command that changes it. It changes nothing and needs no rights.
"""
