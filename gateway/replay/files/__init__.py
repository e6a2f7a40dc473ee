"""Messages in files: directories, archives, lines and batches, as they are read into a replay and exported."""
