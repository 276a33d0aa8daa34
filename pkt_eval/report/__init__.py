"""What the records of a comparison say: statistics, leaderboard and the gate. Reads records, never models."""
