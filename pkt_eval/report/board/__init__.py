"""The leaderboard: what is compared with what, as plain data."""
