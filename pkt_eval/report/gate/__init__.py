"""The gate: is a candidate at most a tolerated loss worse than its baseline?"""
