"""`pollux doctor`: reads the host and says what is right, what could be better and what is wrong.

Each item comes with the command that changes it. It changes nothing and needs no rights.
"""
