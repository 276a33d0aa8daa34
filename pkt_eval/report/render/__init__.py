"""Writers: the leaderboard as a page, tables and text. A number is computed elsewhere."""
