"""What runs inside the jail. Scripts and their modules, read by ``zygote.py``'s own interpreter alone.

Nothing here imports the rest of the package, and nothing outside imports these but for their tests.
"""
