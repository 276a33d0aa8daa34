"""How the nano family was made. Nothing here is needed to use it."""
