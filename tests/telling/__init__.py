"""Who is told of what by a gateway among three partners."""
