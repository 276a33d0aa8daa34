"""From a recipe to its student: what decides it, the store it is kept in, the processes that make it."""
