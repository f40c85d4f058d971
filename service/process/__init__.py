"""The process, whatever it serves: its processors, memory, socket, threads and log, and its sudden end."""
